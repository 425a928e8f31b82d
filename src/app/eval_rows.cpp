#include "app/eval_rows.h"

#include <limits>

#include "app/eval_labels.h"
#include "app/flag_value.h"
#include "app/inference.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/nn/adapters.h"
#include "lora/train/objectives.h"
#include "app/result_inputs.h"
#include "app/script_rows.h"

namespace lora::app {

namespace {

using train::ObjectiveKind;

ObjectiveKind objective_of(const EvalRequest& request, const data::SourceOptions& source) {
  if (request.objective.empty()) {
    config_error("--objective", "is required for --format " + request.format +
                                    " and a TorchScript model: found none, expected what it was trained for, which is "
                                    "sequence_classification, regression or module_loss");
  }
  const ObjectiveKind kind = flag_value(train::kObjectiveKinds, request.objective, "--objective");
  if (!train::objective_entry(kind).reads(source.format)) {
    config_error("--format", "found " + request.format + " with --objective " + request.objective + ", expected " +
                                 join(train::formats_of(kind), " or "));
  }
  if (!request.token_logprobs.empty()) {
    config_error("--token-logprobs", "needs rows with tokens to predict: found --objective " + request.objective);
  }
  if (!request.predictions.empty() && kind == ObjectiveKind::kModuleLoss) {
    config_error("--predictions",
                 "cannot be written: found --objective module_loss, whose module returns a loss and no predictions, expected "
                 "sequence_classification or regression");
  }
  return kind;
}

/// Evaluates a module that returns its own loss by that loss, and other modules by comparing predictions with targets.
Json evaluation_with(nn::Model& model, const std::string& adapter, const data::Dataset& dataset, ObjectiveKind kind,
                     const std::optional<data::LabelSet>& labels, const EvalRequest& request, const std::optional<ResultFile>& file) {
  if (kind != ObjectiveKind::kModuleLoss) {
    return evaluation_of_rows(model, adapter, dataset,
                              {kind == ObjectiveKind::kRegression, labels ? labels->names : std::vector<std::string>()}, request, file);
  }
  const data::BatchOptions batches{request.batch_size, /*packing=*/false, std::numeric_limits<int64_t>::max(), /*shuffle=*/false};
  const auto found_of = [&](const data::Dataset& rows) {
    return train::objective_entry(kind).make({model, rows, &rows, labels ? &*labels : nullptr, batches})->evaluate();
  };
  const train::EvalResult found = found_of(dataset);
  require_finite(found, dataset, [&](const data::Dataset& rows) { return found_of(rows).loss; });
  return evaluation_json(adapter, found, dataset, request);
}

data::Dataset load_rows(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options,
                        const models::ModelOptions& model) {
  const bool has_texts =
      data::needs_text(source.format) || (source.format == data::RowFormat::kClassification && tokenizer::has_tokenizer(model.tokenizer));
  const auto tokenizer = has_texts ? tokenizer::load_tokenizer(model.tokenizer) : nullptr;
  const tokenizer::ChatTemplateChoice choice{request.chat_template, first_adapter_folder(request.inference), "--chat-template"};
  const auto chat_template = row_template(source.format, choice, model, tokenizer.get());
  data::Dataset dataset = data::load_dataset("--data", {source}, options,
                                             {tokenizer.get(), std::numeric_limits<int32_t>::max(),
                                              /*keep_unsupervised=*/!request.predictions.empty(),
                                              /*num_threads=*/0, chat_template.get(), chat_template.get()});
  require_template_used(choice, source.format, dataset);
  return dataset;
}

}  // namespace

int evaluate_rows(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options) {
  const ObjectiveKind kind = objective_of(request, source);
  const models::ModelOptions model_flags = model_options(request.inference);
  const std::optional<ResultFile> predictions = predictions_file(request);
  data::Dataset dataset = load_rows(request, source, options, model_flags);
  require_other_file(predictions, dataset);
  const auto load = [&](const models::ModelOptions& model, const std::optional<data::LabelSet>& labels) {
    settle_targets(dataset, nullptr, kind, labels, /*need_targets=*/request.predictions.empty());
    return load_row_base(model, dataset, nullptr, kind);
  };
  InferenceParts parts = open_inference(request.inference, ModelUse::kRows, load);
  nn::Model& model = *parts.base.model;
  if (kind == ObjectiveKind::kSequenceClassification) {
    parts.labels = row_labels(dataset, model, parts.labels);
    data::apply_labels(dataset, *parts.labels);
  }
  std::vector<Json> results;
  for (const std::string& name : parts.names_to_run(request.compare_base)) {
    nn::use_adapter(model, name);
    results.push_back(evaluation_with(model, name, dataset, kind, parts.labels, request, predictions));
  }
  print_evaluations(results, request.json);
  return 0;
}

}  // namespace lora::app
