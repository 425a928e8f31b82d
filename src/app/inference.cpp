#include "app/inference.h"

#include <algorithm>

#include "app/classifier.h"
#include "app/load_base.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/config/command_line.h"
#include "lora/peft/task.h"
#include "app/model_path.h"
#include "app/run_prompts.h"

namespace lora::app {

namespace {

struct AdapterFlag {
  std::string name;
  fs::path folder;
};

/// "NAME=DIR" or "DIR". A folder whose name contains '=' can be written as ./a=b.
AdapterFlag parse_adapter_flag(const std::string& flag) {
  const size_t equals = flag.find('=');
  const size_t slash = flag.find('/');
  if (equals == std::string::npos || slash < equals) {
    return {"default", flag};
  }
  return {flag.substr(0, equals), flag.substr(equals + 1)};
}

using FlaggedAdapters = std::vector<std::pair<AdapterFlag, peft::MethodOptions>>;

void require_use(const FlaggedAdapters& adapters, ModelUse use) {
  for (const auto& [flag, options] : adapters) {
    const bool scores_documents = peft::is_sequence_classification(*options);
    if (scores_documents != (use == ModelUse::kDocuments)) {
      config_error("--adapter " + flag.folder.string(),
                   use == ModelUse::kRows ? "is for a Hugging Face classifier: found task_type SEQ_CLS, expected none"
                   : scores_documents     ? "is for a classifier: found task_type SEQ_CLS, expected an adapter of a language model. "
                                            "Evaluate it with lora-eval --format classification."
                                      : "is not for a classifier: found another task_type, expected SEQ_CLS for --format classification");
    }
  }
}

/// The labels of the adapters, which must agree; without adapters, those of the model folder's head.
data::LabelSet common_labels(const FlaggedAdapters& adapters, const fs::path& model_folder) {
  std::optional<data::LabelSet> labels;
  for (const auto& [flag, options] : adapters) {
    data::LabelSet own = adapter_labels(flag.folder, model_folder);
    if (labels && labels->names != own.names) {
      config_error("--adapter " + flag.folder.string(),
                   "has different labels from the adapter before it: expected the same labels for all adapters");
    }
    labels = std::move(own);
  }
  labels = labels ? labels : known_labels(model_folder);
  if (!labels) {
    model_error(model_folder.string(),
                "the model has no labels: found no id2label in its config.json, expected a trained classifier, or an adapter with "
                "a classifier");
  }
  return *labels;
}

/// The labels in the adapters' metadata, which must agree; none if no adapter has any.
std::optional<data::LabelSet> named_labels(const FlaggedAdapters& adapters) {
  std::optional<data::LabelSet> labels;
  for (const auto& [flag, options] : adapters) {
    std::optional<data::LabelSet> own = stored_labels(flag.folder);
    if (labels && own && (labels->names != own->names || labels->is_regression != own->is_regression)) {
      config_error("--adapter " + flag.folder.string(),
                   "has different classes from the adapter before it: expected the same classes for all adapters");
    }
    labels = own ? std::move(own) : std::move(labels);
  }
  return labels;
}

/// A head weight that is in neither the base model nor an adapter is random, and its scores are meaningless.
void require_head_values(const InferenceParts& parts, const FlaggedAdapters& adapters) {
  for (const std::string& weight : parts.base.created) {
    const std::string module = weight.substr(0, weight.rfind('.'));
    const auto saves = [&module](const auto& adapter) { return peft::saves_module(*adapter.second, module); };
    if (!std::any_of(adapters.begin(), adapters.end(), saves)) {
      model_error(parts.options.path.string(),
                  "the classification head lacks a weight: found no " + weight + ", expected it in the model or in the adapter");
    }
  }
}

}  // namespace

std::vector<std::string> InferenceParts::names_to_run(bool with_base) const {
  std::vector<std::string> names;
  if (adapters.empty() || with_base) {
    names.emplace_back();
  }
  for (const NamedAdapter& adapter : adapters) {
    names.push_back(adapter.name);
  }
  return names;
}

std::unique_ptr<tokenizer::Tokenizer> InferenceParts::tokenizer() const {
  std::unique_ptr<tokenizer::Tokenizer> loaded = tokenizer::load_tokenizer(options.tokenizer);
  require_vocabulary(*loaded, *base.model, options.tokenizer.string());
  return loaded;
}

std::unique_ptr<tokenizer::Tokenizer> InferenceParts::tokenizer_for(data::RowFormat format) const {
  if (!data::needs_text(format) && format != data::RowFormat::kClassification) {
    return nullptr;
  }
  if (format == data::RowFormat::kClassification && !tokenizer::has_tokenizer(options.tokenizer)) {
    return nullptr;  // rows of ids need no tokenizer; a row of text will report what is missing
  }
  return tokenizer();
}

tokenizer::ChatTemplateChoice InferenceParts::template_choice(const std::string& adapter, const std::string& flag) const {
  const auto is_it = [&adapter](const NamedAdapter& other) { return other.name == adapter; };
  const auto found = std::find_if(adapters.begin(), adapters.end(), is_it);
  return {flag, found == adapters.end() ? fs::path() : found->folder, "--chat-template"};
}

fs::path first_adapter_folder(const InferenceRequest& request) {
  return request.adapters.empty() ? fs::path() : parse_adapter_flag(request.adapters.front()).folder;
}

std::unique_ptr<tokenizer::ChatTemplate> row_template(data::RowFormat format, const tokenizer::ChatTemplateChoice& choice,
                                                      const models::ModelOptions& model, const tokenizer::Tokenizer* tokenizer) {
  if (!data::is_conversation(format)) {
    if (!choice.name.empty()) {
      config_error(choice.where, "has no effect on rows in the format " + std::string(data::kRowFormats.name(format)) +
                                     ": expected messages, instruction or prompt_completion. Leave it out.");
    }
    return nullptr;
  }
  if (format == data::RowFormat::kPromptCompletion) {
    return load_pair_template(choice, model.tokenizer, *tokenizer);
  }
  return format == data::RowFormat::kMessages || choice.is_given() ? tokenizer::load_chat_template(choice, model.tokenizer, *tokenizer)
                                                                   : nullptr;
}

void require_template_used(const tokenizer::ChatTemplateChoice& choice, data::RowFormat format, const data::Dataset& dataset) {
  if (format == data::RowFormat::kPromptCompletion && !choice.name.empty() && dataset.report.message_pairs == 0) {
    config_error(choice.where, "has no effect: prompt and completion are texts in every row, expected messages. Leave it out.");
  }
}

void require_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where) {
  if (tokenizer.vocab_size() > model.vocab_size()) {
    model_error(where, "the tokenizer does not belong to this model: found a vocabulary of " + std::to_string(tokenizer.vocab_size()) +
                           ", expected at most the model's " + std::to_string(model.vocab_size()));
  }
}

models::ModelOptions model_options(const InferenceRequest& request) {
  models::ModelOptions options = config::read_model_flags(
      {request.model, request.tokenizer, request.dtype, request.device, request.trust_torchscript, request.inputs, request.output},
      request.surroundings);
  require_model(options, "--model");
  if (options.is_torchscript()) {
    options.base_dropout = 0;  // nothing is trained here
  }
  return options;
}

InferenceParts open_inference(const InferenceRequest& request, ModelUse use, const BaseLoader& load) {
  InferenceParts parts;
  parts.options = model_options(request);
  // Read the adapters' configs first, so that mistakes in them are reported at once.
  FlaggedAdapters adapters;
  for (const std::string& flag : request.adapters) {
    const AdapterFlag parsed = parse_adapter_flag(flag);
    const auto same_name = [&parsed](const auto& other) { return other.first.name == parsed.name; };
    if (parsed.name.empty() || parsed.folder.empty() || std::any_of(adapters.begin(), adapters.end(), same_name)) {
      config_error("--adapter", "found '" + flag + "', expected DIR or NAME=DIR, with a different name for each adapter");
    }
    adapters.emplace_back(parsed, config::read_adapter_folder(parsed.folder));
  }
  require_use(adapters, use);
  if (use == ModelUse::kDocuments) {
    parts.labels = common_labels(adapters, parts.options.path);
    const bool is_stored = adapters.empty();
    parts.base = models::load_base_model(parts.options, /*seed=*/0,
                                         models::SequenceHeadRequest{is_stored ? std::nullopt : std::optional(parts.labels->num_labels())});
  } else {
    parts.labels = use == ModelUse::kRows ? named_labels(adapters) : std::nullopt;
    parts.base = load ? load(parts.options, parts.labels) : load_base(parts.options, /*seed=*/0);
  }
  const peft::BaseReference base(parts.options.name, parts.base.fingerprint, request.allow_other_base);
  for (const auto& [flag, options] : adapters) {
    peft::MethodOptions own = use == ModelUse::kDocuments ? peft::for_sequence_classification(options, {}) : options;
    own->keeps_base = true;
    parts.adapters.push_back({flag.name, peft::attach_adapter(own, *parts.base.model, base, /*seed=*/0, flag.name), flag.folder});
  }
  if (use == ModelUse::kDocuments) {
    require_head_values(parts, adapters);
  }
  return parts;
}

}  // namespace lora::app
