#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "lora/data/dataset.h"
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
  std::filesystem::path folder;
};

/// A model to be run, with its adapters.
struct InferenceParts {
  models::ModelOptions options;
  models::BaseModel base;
  std::vector<NamedAdapter> adapters;    ///< in the order of the flags
  std::optional<data::LabelSet> labels;  ///< of a model that scores documents; of a module, what its adapters say that targets are

  /// What the model is run with, one after the other: its adapters by name; "" is the bare model, first where there is no adapter or
  /// `with_base` asks for it.
  std::vector<std::string> names_to_run(bool with_base) const;
  /// The model's tokenizer. Throws model Error if there is none, or if it has more ids than the model.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer() const;
  /// The same as far as rows of this format need it; null where they do not, or may not and there is none.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_for(data::RowFormat format) const;
  /// The chat template for an adapter's prompts: what --chat-template names (`flag`), else the adapter's own. "": the bare model.
  tokenizer::ChatTemplateChoice template_choice(const std::string& adapter, const std::string& flag) const;
};

/// The folder of the first adapter that the flags name; empty: there is none.
std::filesystem::path first_adapter_folder(const InferenceRequest& request);

/// What rows of a format are written by: messages (of prompt_completion rows too) by the chosen template or the model's own, instructions
/// by one that is chosen. Null: by none. Throws config Error where one is named for rows of another format.
std::unique_ptr<tokenizer::ChatTemplate> row_template(data::RowFormat format, const tokenizer::ChatTemplateChoice& choice,
                                                      const models::ModelOptions& model, const tokenizer::Tokenizer* tokenizer);

/// Throws config Error where a template is named for prompt_completion rows, and none of them has messages.
void require_template_used(const tokenizer::ChatTemplateChoice& choice, data::RowFormat format, const data::Dataset& dataset);

/// Throws model Error naming `where` if the tokenizer has more ids than the model.
void check_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where);

/// What a model is opened for.
enum class ModelUse {
  kTokens,
  kDocuments,  ///< by a head that scores them
  kRows,       ///< that a TorchScript module is given whole
};

/// The model that the request's flags name.
models::ModelOptions model_options(const InferenceRequest& request);

/// How the base is loaded in another way than load_base does; `labels` as InferenceParts has them.
using BaseLoader = std::function<models::BaseModel(const models::ModelOptions& options, const std::optional<data::LabelSet>& labels)>;

/// Loads the model and attaches its adapters. Throws config Error for a name that stands twice or is empty, an adapter that is not for
/// this use, and what loading throws. For kDocuments the head's labels are those of the adapters, without any those of the folder; for
/// kRows, which needs `load`, those that adapters name, if they do.
InferenceParts open_inference(const InferenceRequest& request, ModelUse use = ModelUse::kTokens, const BaseLoader& load = nullptr);

}  // namespace lora::app
