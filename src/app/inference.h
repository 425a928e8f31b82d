#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/chat_template.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// An adapter on a model: attached under its name.
struct NamedAdapter {
  std::string name;
  std::unique_ptr<peft::Method> method;
};

/// A model to be run, with its adapters.
struct InferenceParts {
  models::ModelOptions options;
  models::BaseModel base;
  std::vector<NamedAdapter> adapters;    ///< in the order of the flags
  std::optional<data::LabelSet> labels;  ///< of a model that scores documents

  /// The model's tokenizer. Throws model Error if there is none, or if it has more ids than the model.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer() const;
  /// The same as far as rows of this format need it; null where they do not, or may not and there is none.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_for(data::RowFormat format) const;
  /// What messages rows are written by: `choice` as data.chat_template; null for rows of another format.
  std::unique_ptr<tokenizer::ChatTemplate> chat_template(const data::SourceOptions& source, const tokenizer::Tokenizer* tokenizer,
                                                         const std::string& choice) const;
};

/// Throws model Error naming `where` if the tokenizer has more ids than the model.
void check_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where);

/// What a model is opened for.
enum class ModelUse { kTokens, kDocuments };

/// Loads the model and attaches its adapters. Throws config Error for a name that stands twice or is empty, an adapter that is not for
/// this use, and what loading throws. For kDocuments the head's labels are those of the adapters, without any those of the folder.
InferenceParts open_inference(const InferenceRequest& request, ModelUse use = ModelUse::kTokens);

}  // namespace lora::app
