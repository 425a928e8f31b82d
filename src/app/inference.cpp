#include "app/inference.h"

#include <algorithm>

#include "app/backend.h"
#include "app/model_path.h"
#include "app/run_prompts.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/config/command_line.h"
#include "lora/peft/task.h"

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

void require_use(const FlaggedAdapters& adapters, const Backend& backend) {
  for (const auto& [flag, options] : adapters) {
    const bool scores_documents = peft::is_sequence_classification(*options);
    if (scores_documents != backend.has_head) {
      config_error("--adapter " + flag.folder.string(),
                   !backend.has_head && !backend.predicts_tokens
                       ? "is for a Hugging Face classifier: found task_type SEQ_CLS, expected none"
                   : scores_documents ? "is for a classifier: found task_type SEQ_CLS, expected an adapter of a language model. "
                                        "Evaluate it with lora-eval --format classification."
                                      : "is not for a classifier: found another task_type, expected SEQ_CLS for --format classification");
    }
  }
}

/// The adapters' configs, read first, so that mistakes in them are reported at once.
FlaggedAdapters read_flagged_adapters(const InferenceRequest& request, const Backend& backend) {
  FlaggedAdapters adapters;
  for (const std::string& flag : request.adapters) {
    const AdapterFlag parsed = parse_adapter_flag(flag);
    const auto same_name = [&parsed](const auto& other) { return other.first.name == parsed.name; };
    if (parsed.name.empty() || parsed.folder.empty() || std::any_of(adapters.begin(), adapters.end(), same_name)) {
      config_error("--adapter", "found '" + flag + "', expected DIR or NAME=DIR, with a different name for each adapter");
    }
    adapters.emplace_back(parsed, config::read_adapter_folder(parsed.folder));
  }
  require_use(adapters, backend);
  return adapters;
}

std::vector<fs::path> folders_of(const FlaggedAdapters& adapters) {
  std::vector<fs::path> folders;
  for (const auto& [flag, options] : adapters) {
    folders.push_back(flag.folder);
  }
  return folders;
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

fs::path adapter_folder(const std::string& flag) {
  return parse_adapter_flag(flag).folder;
}

fs::path first_adapter_folder(const InferenceRequest& request) {
  return request.adapters.empty() ? fs::path() : adapter_folder(request.adapters.front());
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
  if (data::facts_of(format).chat == data::ChatUse::kPairs) {
    return load_pair_template(choice, model.tokenizer, *tokenizer);
  }
  return data::facts_of(format).chat == data::ChatUse::kMessages || choice.is_given()
             ? tokenizer::load_chat_template(choice, model.tokenizer, *tokenizer)
             : nullptr;
}

void require_template_used(const tokenizer::ChatTemplateChoice& choice, data::RowFormat format, const data::Dataset& dataset) {
  if (data::facts_of(format).chat == data::ChatUse::kPairs && !choice.name.empty() && dataset.report.message_pairs == 0) {
    config_error(choice.where, "has no effect: prompt and completion are texts in every row, expected messages. Leave it out.");
  }
}

void require_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where) {
  if (tokenizer.vocab_size() > model.vocab_size()) {
    model_error(where, "the tokenizer does not belong to this model: found a vocabulary of " + std::to_string(tokenizer.vocab_size()) +
                           ", expected at most the model's " + std::to_string(model.vocab_size()));
  }
}

models::ModelOptions model_options(const InferenceRequest& request, train::ObjectiveKind objective) {
  models::ModelOptions options =
      config::read_model_flags({request.model, request.tokenizer, request.dtype, request.device, request.trust_torchscript,
                                request.quantize, request.inputs, request.output, request.variant, request.vae, request.prediction_type,
                                request.clip_skip},
                               request.surroundings);
  if (options.quantization && options.is_torchscript()) {
    config_error("--quantize", "found '" + request.quantize + "' for a TorchScript model, expected a Hugging Face folder: " +
                                   "a module keeps its own weights");
  }
  if (request.quantization) {
    options.quantization = request.quantization;
  }
  require_model(options, "--model", objective);
  return options;
}

InferenceParts open_inference(const InferenceRequest& request, train::ObjectiveKind objective, data::Dataset* rows, bool need_labels) {
  InferenceParts parts;
  parts.options = model_options(request, objective);
  const Backend& backend = backend_of(parts.options, objective);
  const FlaggedAdapters adapters = read_flagged_adapters(request, backend);
  if (backend.adapter_labels != nullptr) {
    parts.labels = backend.adapter_labels(folders_of(adapters), parts.options.path);
  }
  if (rows != nullptr) {
    backend.label_rows({*rows, nullptr, objective, parts.labels, need_labels});
  }
  BaseRequest base_request{parts.options, objective};
  base_request.num_labels = backend.has_head && !adapters.empty() ? std::optional(parts.labels->num_labels()) : std::nullopt;
  base_request.rows = rows;
  parts.base = backend.open(base_request);
  if (!parts.base.quantization.empty()) {
    log::info("the base's weights are packed: " + parts.base.quantization);
  }
  peft::BaseReference base(parts.options.name, parts.base.fingerprint, request.allow_other_base);
  base.quantization = parts.base.quantization;
  for (const auto& [flag, options] : adapters) {
    peft::MethodOptions own = backend.adapter_options != nullptr ? backend.adapter_options(options, {}) : options;
    own->keeps_base = true;
    parts.adapters.push_back({flag.name, peft::attach_adapter(own, *parts.base.model, base, /*seed=*/0, flag.name), flag.folder});
  }
  if (backend.has_head) {
    require_head_values(parts, adapters);
  }
  if (rows != nullptr && backend.label_opened != nullptr) {
    parts.labels = backend.label_opened({*rows, nullptr, objective, parts.labels}, *parts.base.model);
  }
  return parts;
}

}  // namespace lora::app
