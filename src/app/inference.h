#pragma once
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
#include "lora/train/options.h"

namespace lora::app {

/// An adapter that is attached to a model under a name.
struct NamedAdapter {
  std::string name;
  std::unique_ptr<peft::Method> method;
  std::filesystem::path folder;
};

/// A model to run, with its adapters.
struct InferenceParts {
  models::ModelOptions options;
  models::BaseModel base;
  std::vector<NamedAdapter> adapters;    ///< in the order of the flags
  std::optional<data::LabelSet> labels;  ///< of a classifier; for a TorchScript module, the targets that its adapters describe

  /// The adapters to run one after the other, by name. "", the base model, comes first if there is no adapter or `with_base` is true.
  std::vector<std::string> names_to_run(bool with_base) const;
  /// Loads the model's tokenizer. Throws model Error if there is none, or if it has more ids than the model.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer() const;
  /// The tokenizer for rows of this format; null if they need none, or may not need one and there is none.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_for(data::RowFormat format) const;
  /// The chat template for an adapter's prompts: the one that --chat-template names (`flag`), else the adapter's. "": the base model.
  tokenizer::ChatTemplateChoice template_choice(const std::string& adapter, const std::string& flag) const;
};

/// The folder that an --adapter names: "NAME=DIR" or "DIR".
std::filesystem::path adapter_folder(const std::string& flag);

/// The folder of the first adapter in the flags; empty without adapters.
std::filesystem::path first_adapter_folder(const InferenceRequest& request);

/// The chat template for rows of a format: for messages (those of prompt_completion rows too) the chosen one or the model's, for
/// instructions only a chosen one; null otherwise.
/// Throws config Error if one is named for rows of another format.
std::unique_ptr<tokenizer::ChatTemplate> row_template(data::RowFormat format, const tokenizer::ChatTemplateChoice& choice,
                                                      const models::ModelOptions& model, const tokenizer::Tokenizer* tokenizer);

/// Throws config Error where a template is named for prompt_completion rows, and none of them has messages.
void require_template_used(const tokenizer::ChatTemplateChoice& choice, data::RowFormat format, const data::Dataset& dataset);

/// Throws model Error naming `where` if the tokenizer has more ids than the model.
void require_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where);

/// The model options from the request's flags.
models::ModelOptions model_options(const InferenceRequest& request, train::ObjectiveKind objective = train::ObjectiveKind::kCausalLm);

/// Loads the model for an objective and attaches its adapters, whose labels it gets (Backend::adapter_labels). `rows`: those that a module
/// is opened for, whose labels get their meaning. Throws config Error for an adapter name that is empty or repeated and for an adapter that
/// does not fit the objective, and what loading throws.
InferenceParts open_inference(const InferenceRequest& request, train::ObjectiveKind objective = train::ObjectiveKind::kCausalLm,
                              data::Dataset* rows = nullptr, bool need_labels = true);

}  // namespace lora::app
