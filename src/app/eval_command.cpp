#include "lora/app/eval_command.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "app/backend.h"
#include "app/eval_rows.h"
#include "app/evaluation.h"
#include "app/flag_value.h"
#include "app/measure.h"
#include "app/open_adapter.h"
#include "app/result_inputs.h"
#include "lora/base/error.h"
#include "lora/base/result_file.h"
#include "lora/base/text.h"
#include "lora/nn/adapters.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

using train::ObjectiveKind;

data::DataOptions data_options(const EvalRequest& request) {
  data::DataOptions options;
  options.max_length = std::numeric_limits<int64_t>::max();
  options.train_on = flag_value(data::kTrainOn, request.train_on, "--train-on");
  options.parse_special_tokens = request.parse_special_tokens;
  if (request.resolution > 0) {
    options.images.resolution = image::Size{request.resolution, request.resolution};
  }
  return options;
}

data::SourceOptions source_options(const EvalRequest& request) {
  data::SourceOptions source = request.source;
  source.format = flag_value(data::kRowFormats, request.format, "--format");
  source.documents = flag_value(data::kTextDocuments, request.documents, "--documents");
  for (const std::string& column : request.columns) {
    const size_t equals = column.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == column.size()) {
      config_error("--column", "found '" + column + "', expected FIELD=COLUMN, for example prompt=question");
    }
    source.columns[column.substr(0, equals)] = column.substr(equals + 1);
  }
  return source;
}

/// What a TorchScript module is evaluated for, which its file does not tell.
ObjectiveKind objective_of_module(const EvalRequest& request, data::RowFormat format) {
  if (request.objective.empty()) {
    config_error("--objective", "is required for --format " + request.format +
                                    " and a TorchScript model: found none, expected what it was trained for, which is "
                                    "sequence_classification, regression or module_loss");
  }
  const ObjectiveKind kind = flag_value(train::kObjectiveKinds, request.objective, "--objective");
  if (!train::objective_entry(kind).reads(format)) {
    config_error("--format", "found " + request.format + " with --objective " + request.objective + ", expected " +
                                 join(train::formats_of(kind), " or "));
  }
  return kind;
}

bool are_images(data::RowFormat format) {
  return data::facts_of(format).content == data::RowContent::kImages;
}

/// Of a model of a supported family, the first that reads such rows; of a module, the tokens if none is given.
ObjectiveKind objective_of(const EvalRequest& request, data::RowFormat format, bool is_module) {
  const bool has_supervised_tokens = train::objective_entry(ObjectiveKind::kCausalLm).reads(format);
  if (is_module && (!has_supervised_tokens || (!request.objective.empty() && request.objective != "causal_lm"))) {
    return objective_of_module(request, format);
  }
  const auto& kinds = train::kObjectiveKinds.entries;
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) {
    const train::ObjectiveEntry& entry = train::objective_entry(kind.value);
    return !entry.needs_module && entry.reads(format);
  });
  return found == kinds.end() ? ObjectiveKind::kCausalLm : found->value;
}

/// Throws config Error for flags that have no effect on these rows or this model.
void require_flags_with_effect(const EvalRequest& request, data::RowFormat format, data::TrainOn train_on, bool is_module) {
  if (train_on != data::TrainOn::kCompletion && !data::has_prompt(format)) {
    config_error("--train-on", "has no effect on rows in the format " + request.format +
                                   ": expected prompt_completion, instruction or messages. Leave it out.");
  }
  if (format != data::RowFormat::kImages && (request.resolution > 0 || !request.cache_dir.empty() || request.inference.clip_skip)) {
    const std::string flag = request.resolution > 0 ? "--resolution" : request.cache_dir.empty() ? "--clip-skip" : "--cache-dir";
    config_error(flag, "has no effect on rows in the format " + request.format + ": expected images. Leave it out.");
  }
  if (is_module && are_images(format)) {
    config_error("--format", "found " + request.format + " for a TorchScript model, expected a text-to-image pipeline for such rows");
  }
  if (!is_module && (!request.objective.empty() || format == data::RowFormat::kFeatures)) {
    config_error(request.objective.empty() ? "--format" : "--objective",
                 "is only for TorchScript models: found " + (request.objective.empty() ? request.format : request.objective) +
                     " with a Hugging Face model");
  }
}

/// The states of captions are those of the base's text encoders. Throws config Error for an adapter that changes these too.
void require_networks_adapters(const EvalRequest& request) {
  for (const std::string& adapter : request.inference.adapters) {
    require_adapter_of_network(adapter_folder(adapter), "--adapter");
  }
}

/// Throws config Error for results that this use of the model does not give.
void require_possible_results(const EvalRequest& request, ObjectiveKind objective, const Backend& backend) {
  if (backend.removes_noise && !(request.predictions.empty() && request.token_logprobs.empty())) {
    config_error(request.predictions.empty() ? "--token-logprobs" : "--predictions",
                 "cannot be written: found --format " + request.format + ", whose rows are images, which have nothing but a loss");
  }
  if (backend.removes_noise) {
    require_networks_adapters(request);
  }
  if (backend.predicts_tokens && !request.predictions.empty()) {
    config_error("--predictions", "is only for models that label rows: found --format " + request.format +
                                      ", expected classification, or a TorchScript model with --objective sequence_classification or "
                                      "regression. For tokens use --token-logprobs.");
  }
  if (!backend.predicts_tokens && !request.token_logprobs.empty()) {
    config_error("--token-logprobs",
                 backend.is_module ? "needs rows with tokens to predict: found --objective " + request.objective
                                   : "needs rows with tokens to predict: found --format classification, whose rows have one label each");
  }
  if (objective == ObjectiveKind::kModuleLoss && !request.predictions.empty()) {
    config_error("--predictions",
                 "cannot be written: found --objective module_loss, whose module returns a loss and no predictions, expected "
                 "sequence_classification or regression");
  }
  if (backend.has_head && request.compare_base && !request.inference.adapters.empty()) {
    config_error("--compare-base",
                 "cannot be used with --format classification and --adapter: the base model does not have the adapters' head");
  }
}

/// The file of --token-logprobs or --predictions, if the flag is given.
std::optional<ResultFile> file_of_rows(const EvalRequest& request, bool predicts_tokens) {
  const std::filesystem::path& path = predicts_tokens ? request.token_logprobs : request.predictions;
  if (path.empty()) {
    return std::nullopt;
  }
  if (request.inference.adapters.size() > 1 || (request.compare_base && !request.inference.adapters.empty())) {
    config_error(predicts_tokens ? "--token-logprobs" : "--predictions",
                 "found more than one result to write, expected at most one adapter and no --compare-base");
  }
  return ResultFile(path, inputs_of(request.inference, {request.source.path, request.chat_template}));
}

/// Adds the difference from the base model's loss, which comes first, to each adapter's result.
void add_changes_from_base(std::vector<Evaluation>& evaluations) {
  for (Evaluation& evaluation : evaluations) {
    if (!evaluation.adapter.empty()) {
      evaluation.loss_difference = evaluation.found.loss - evaluations.front().found.loss;
    }
  }
}

}  // namespace

int eval_command(const EvalRequest& request) {
  const EvalSource from{request, data_options(request), source_options(request)};
  const models::ModelOptions model_flags =
      model_options(request.inference, are_images(from.source.format) ? ObjectiveKind::kDenoising : ObjectiveKind::kCausalLm);
  const bool is_module = backend_of(model_flags).is_module;
  require_flags_with_effect(request, from.source.format, from.options.train_on, is_module);
  const ObjectiveKind objective = objective_of(request, from.source.format, is_module);
  const Backend& backend = backend_of(model_flags, objective);
  require_possible_results(request, objective, backend);
  const std::optional<ResultFile> file = file_of_rows(request, backend.predicts_tokens);

  std::optional<data::Dataset> rows;
  if (is_module && !backend.predicts_tokens) {
    rows = load_module_rows(from, model_flags);
  }
  const InferenceParts parts =
      open_inference(request.inference, objective, rows ? &*rows : nullptr, /*need_labels=*/request.predictions.empty());
  if (backend.has_head) {
    rows = load_labelled_rows(from, parts);
  }
  const auto schedule = backend.schedule != nullptr ? backend.schedule(parts.options, std::nullopt) : nullptr;
  std::optional<EvalDocuments> documents;
  if (!rows) {
    documents.emplace(from, parts);
  }
  std::vector<Evaluation> evaluations;
  for (const std::string& name : parts.names_to_run(request.compare_base)) {
    const data::Dataset& dataset = rows ? *rows : documents->of(name);
    require_other_file(file, dataset);
    nn::use_adapter(*parts.base.model, name);
    const data::LabelSet* const labels = parts.labels ? &*parts.labels : nullptr;
    const MeasureRequest measured{*parts.base.model, dataset, objective, labels, request.batch_size, schedule};
    evaluations.push_back(make_evaluation(name, measure(measured, file), dataset, objective, request));
  }
  if (backend.predicts_tokens && request.compare_base && evaluations.size() > 1) {
    add_changes_from_base(evaluations);
  }
  print_evaluations(evaluations, request);
  return 0;
}

}  // namespace lora::app
