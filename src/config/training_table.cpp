#include "config/training_table.h"

#include "config/denoising_keys.h"
#include "config/optimizer_field.h"
#include "config/profile_field.h"
#include "config/regex_check.h"
#include "config/schedule_arguments.h"
#include "lora/base/text.h"
#include "lora/metrics/sink.h"
#include "lora/train/objectives.h"

namespace lora::config {

namespace {

using train::TrainOptions;

Rule max_steps_rule() {
  Rule rule = any_of({one_of({-1}), integer(1)});
  rule.expected = "an integer >= 1, or -1 for num_train_epochs";
  return rule;
}

Rule warmup_steps_rule() {
  Rule rule = any_of({number({.from = 0, .below = 1}), integer(1)});
  rule.expected = "a whole number of steps, or a share of all steps from 0 to below 1";
  return rule;
}

Field<TrainOptions> metric_field() {
  std::vector<std::string> names;
  for (const train::EvalMetric& metric : train::eval_metrics()) {
    names.emplace_back(metric.name);
  }
  for (const train::EvalMetric& metric : train::eval_metrics()) {
    names.emplace_back(metric.name.substr(std::string_view("eval_").size()));
  }
  const Rule rule = name_of(names);
  Field<TrainOptions> field{"metric_for_best_model",
                            "Metric that decides which checkpoint is the best: the lowest eval_loss or eval_perplexity, the highest value "
                            "of any other.",
                            rule.schema, "eval_loss", nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      const auto name = value.get<std::string>();
      options.metric_for_best_model = name.starts_with("eval_") ? name : "eval_" + name;  // as in transformers
    }
  };
  field.show = [](const TrainOptions& options) { return Json(options.metric_for_best_model); };
  return field;
}

Field<TrainOptions> train_batch_size_field() {
  const Rule rule = any_of({integer(1, kLargestSize), one_of({"auto"})});
  Field<TrainOptions> field{
      "per_device_train_batch_size",
      "Documents (with packing: bins of max_length tokens) per batch; \"auto\": the largest power of two up to 64 that "
      "fits into memory.",
      rule.schema, TrainOptions{}.per_device_train_batch_size, nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      options.finds_batch_size = value.is_string();
      if (value.is_number()) {
        options.per_device_train_batch_size = from_json<int64_t>(value);
      }
    }
  };
  field.show = [](const TrainOptions& options) {
    return options.finds_batch_size ? Json("auto") : Json(options.per_device_train_batch_size);
  };
  return field;
}

Field<TrainOptions> schedule_arguments_field() {
  Json schema = schedule_table().schema();
  schema["type"] = {"object", "null"};
  Field<TrainOptions> field{"lr_scheduler_kwargs", "Arguments of the learning rate schedule.", schema, Json::object(), nullptr};
  field.read = [](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (!value.is_null()) {
      schedule_table().read(value, options.schedule, at);
    }
  };
  return field;
}

/// Length of the run and sizes of its batches.
void add_extent(Table<TrainOptions>& table) {
  table
      .value(
          "num_train_epochs", [](auto& o) -> auto& { return o.num_train_epochs; }, number({.above = 0, .to = 1e9}),
          "Number of passes over the training rows.")
      .example(2)
      .value(
          "max_steps", [](auto& o) -> auto& { return o.max_steps; }, max_steps_rule(),
          "Total number of optimiser steps, instead of num_train_epochs; -1: not set.")
      .example(1000)
      .custom(train_batch_size_field())
      .example(4)
      .value(
          "per_device_eval_batch_size", [](auto& o) -> auto& { return o.per_device_eval_batch_size; }, integer(1, kLargestSize),
          "Documents per batch in evaluation.")
      .value(
          "gradient_accumulation_steps", [](auto& o) -> auto& { return o.gradient_accumulation_steps; }, integer(1, kLargestSize),
          "Number of batches whose gradients are summed for one optimiser step.")
      .example(4);
}

void add_learning_rate(Table<TrainOptions>& table) {
  table
      .value(
          "learning_rate", [](auto& o) -> auto& { return o.learning_rate; }, number({.above = 0}), "Peak learning rate.")
      .example(2e-4)
      .choice(
          "lr_scheduler_type", [](auto& o) -> auto& { return o.schedule.kind; }, optim::kSchedules, "Learning rate schedule.")
      .example("cosine")
      .custom(schedule_arguments_field())
      .example({{"num_cycles", 0.5}})
      .value(
          "warmup_steps", [](auto& o) -> auto& { return o.warmup_steps; }, warmup_steps_rule(),
          "Number of steps in which the learning rate rises from 0 to its peak; below 1: a share of all steps.")
      .example(100)
      .value(
          "warmup_ratio", [](auto& o) -> auto& { return o.warmup_ratio; }, number({.from = 0, .to = 1}),
          "Length of the warm-up as a share of all steps, instead of warmup_steps.")
      .example(0.03);
}

void add_optimiser(Table<TrainOptions>& table) {
  table
      .value(
          "weight_decay", [](auto& o) -> auto& { return o.optimizer.weight_decay; }, number({.from = 0}),
          "Decoupled weight decay; for SGD an L2 penalty.")
      .example(0.01)
      .custom(optimizer_field())
      .example("paged_adamw_8bit")
      .value(
          "optim_state_file", [](auto& o) -> auto& { return o.optimizer.state_file; }, nullable(text()),
          "Folder for a file that holds the optimiser's moments during the run, to save memory on the CPU; null: they are in memory.")
      .example("/scratch")
      .choice(
          "weight_update", [](auto& o) -> auto& { return o.optimizer.weight_update; }, optim::kWeightUpdates,
          "How trained weights of bfloat16 or float16 are updated (adapter: null): in their dtype, on float32 master copies, or in float32 "
          "and then rounded at random (bfloat16 only).")
      .example("master_weights")
      .value(
          "adam_beta1", [](auto& o) -> auto& { return o.optimizer.beta1; }, number({.from = 0, .below = 1}),
          "Decay rate of the running mean of gradients, for AdamW and Lion.")
      .value(
          "adam_beta2", [](auto& o) -> auto& { return o.optimizer.beta2; }, number({.from = 0, .below = 1}),
          "Decay rate of AdamW's running mean of squared gradients, or of Lion's running mean of gradients (0.99 in its paper).")
      .value(
          "adam_epsilon", [](auto& o) -> auto& { return o.optimizer.epsilon; }, number({.above = 0}),
          "Small number that AdamW adds to its denominator for numerical stability.");
}

void add_loraplus(Table<TrainOptions>& table) {
  table
      .value(
          "loraplus_lr_ratio", [](auto& o) -> auto& { return o.optimizer.loraplus.lr_ratio; }, nullable(number({.above = 0})),
          "LoRA+: learning rate of B divided by that of A (16 in its paper); null: LoRA+ is off.")
      .example(16)
      .value(
          "loraplus_lr_embedding", [](auto& o) -> auto& { return o.optimizer.loraplus.lr_embedding; }, number({.from = 0}),
          "LoRA+: peak learning rate of an adapted embedding (default: 1e-6).")
      .only_where_given()
      .example(1e-6)
      .value(
          "loraplus_weight_decay", [](auto& o) -> auto& { return o.optimizer.loraplus.weight_decay; }, number({.from = 0}),
          "LoRA+: weight decay, instead of weight_decay (default: 0).")
      .only_where_given()
      .example(0.01);
}

Field<TrainOptions> train_parameters_field() {
  const Rule rule = nullable(list_of(text(), 1));
  return {"train_parameters",
          "With adapter null: regular expressions of the names of the tensors to train, each found anywhere in a name; null: all of them.",
          rule.schema, nullptr,
          [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.train_parameters.reset();
            if (value.is_null()) {
              return;
            }
            options.train_parameters = value.get<std::vector<std::string>>();
            for (size_t i = 0; i < value.size(); ++i) {
              check_regex((*options.train_parameters)[i], at.item(i));
            }
          },
          [](const TrainOptions& options) { return to_json(options.train_parameters); }};
}

void add_clipping_and_seed(Table<TrainOptions>& table) {
  table.custom(train_parameters_field())
      .example({"layers\\.(10|11)\\.", "norm"})
      .value(
          "max_grad_norm", [](auto& o) -> auto& { return o.max_grad_norm; }, number({.from = 0}),
          "Largest norm of the gradient, to which larger ones are clipped; 0: no clipping.")
      .value(
          "seed", [](auto& o) -> auto& { return o.seed; }, integer(0), "Seed of everything random in the run.");
}

/// A number of steps, or a share of them.
Rule steps_rule() {
  Rule rule = any_of({number({.above = 0, .below = 1}), integer(1)});
  rule.expected = "a whole number of steps, or a share of all steps above 0 and below 1";
  return rule;
}

Rule eval_steps_rule() {
  Rule rule = nullable(steps_rule());
  rule.expected += ", or null";
  return rule;
}

/// null means the default, so that --set can undo a number of steps.
Field<TrainOptions> save_steps_field() {
  Rule rule = nullable(any_of({number({.from = 0, .below = 1}), integer(1)}));
  rule.expected = "a whole number of steps, or a share of all steps below 1; 0 for no checkpoints";
  Field<TrainOptions> field{"save_steps", "Number of steps between checkpoints; below 1: a share of all steps; 0: no checkpoints.",
                            rule.schema, number_json(TrainOptions{}.save_steps), nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at) && !value.is_null()) {
      options.save_steps = value.get<double>();
    }
  };
  field.show = [](const TrainOptions& options) { return number_json(options.save_steps); };
  return field;
}

Field<TrainOptions> eval_strategy_field() {
  const Rule rule = nullable(name_of(train::kEvalStrategies.names()));
  Field<TrainOptions> field{
      "eval_strategy",
      "When to evaluate: no (never), steps (every eval_steps, otherwise every logging_steps) or epoch, both also at the end; null: "
      "every eval_steps if that is given, and at the end.",
      rule.schema, nullptr, nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      options.eval_strategy = value.is_null() ? std::nullopt : train::kEvalStrategies.find(value.get<std::string>());
    }
  };
  field.show = [](const TrainOptions& options) {
    return options.eval_strategy ? Json(train::kEvalStrategies.name(*options.eval_strategy)) : Json(nullptr);
  };
  return field;
}

/// Logging, evaluation and checkpoints.
void add_rhythm(Table<TrainOptions>& table) {
  table
      .value(
          "logging_steps", [](auto& o) -> auto& { return o.logging_steps; }, steps_rule(),
          "Number of steps between lines of metrics; below 1: a share of all steps.")
      .custom(eval_strategy_field())
      .example("epoch")
      .value(
          "eval_steps", [](auto& o) -> auto& { return o.eval_steps; }, eval_steps_rule(),
          "Number of steps between evaluations; below 1: a share of all steps.")
      .example(100)
      .value(
          "eval_on_start", [](auto& o) -> auto& { return o.eval_on_start; }, boolean(), "Evaluate before the first step as well.")
      .choice(
          "save_strategy", [](auto& o) -> auto& { return o.save_strategy; }, train::kSaveStrategies,
          "When to write a checkpoint: no (only if a signal ends the run), steps (every save_steps) or epoch, both also at the end, or "
          "best (whenever an evaluation is the best so far).")
      .custom(save_steps_field())
      .example(100)
      .value(
          "save_total_limit", [](auto& o) -> auto& { return o.save_total_limit; }, nullable(integer(1)),
          "Number of checkpoints to keep; null: all.")
      .example(2)
      .value(
          "load_best_model_at_end", [](auto& o) -> auto& { return o.load_best_model_at_end; }, boolean(),
          "Use the best checkpoint as the result instead of the last step.")
      .custom(metric_field())
      .example("eval_accuracy")
      .value(
          "early_stopping_patience", [](auto& o) -> auto& { return o.early_stopping_patience; }, nullable(integer(1)),
          "Stop after this number of evaluations without improvement; null: never.")
      .example(3);
}

/// Takes the boolean of transformers as well: true means "full".
Field<TrainOptions> gradient_checkpointing_field() {
  std::vector<Json> values{true, false};
  for (const std::string& name : train::kGradientCheckpointing.names()) {
    values.emplace_back(name);
  }
  const Rule rule = one_of(values);
  Field<TrainOptions> field{
      "gradient_checkpointing",
      "Recompute activations in the backward pass to save memory: selective (feed-forward blocks), full (whole layers), offload (whole "
      "layers, with their inputs in host memory; CUDA only) or auto (no more than memory requires).",
      rule.schema, "off", nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      const std::string name = value.is_boolean() ? (value.get<bool>() ? "full" : "off") : value.get<std::string>();
      options.gradient_checkpointing = *train::kGradientCheckpointing.find(name);
    }
  };
  field.show = [](const TrainOptions& options) { return Json(train::kGradientCheckpointing.name(options.gradient_checkpointing)); };
  return field;
}

/// As in transformers: a name, or a list of them.
Field<TrainOptions> report_to_field() {
  std::vector<Json> values{"none", Json::array(), Json::array({"none"})};
  for (const std::string& name : metrics::sink_names()) {
    values.insert(values.end(), {name, Json::array({name})});
  }
  Rule rule = one_of(values);
  rule.note = "This version supports no other value";
  const std::vector<std::string> names = metrics::sink_names();
  Field<TrainOptions> field{
      "report_to",
      "Loggers in addition to metrics.jsonl" + (names.empty() ? ", of which this version has none." : ": " + join(names) + "."),
      rule.schema, "none", nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      options.report_to = value.is_array() ? value.get<std::vector<std::string>>() : std::vector{value.get<std::string>()};
    }
  };
  return field;
}

void add_rest(Table<TrainOptions>& table) {
  table.custom(gradient_checkpointing_field())
      .example("full")
      .custom(report_to_field())
      .value(
          "deterministic", [](auto& o) -> auto& { return o.deterministic; }, boolean(),
          "Use only kernels that give the same bits in every run.")
      .value(
          "cuda_graphs", [](auto& o) -> auto& { return o.cuda_graphs; }, boolean(),
          "Pad micro-batches to one shape and replay them as a CUDA graph, which speeds up small models.")
      .custom(profile_field())
      .example({{"steps", {3, 6}}})
      .choice(
          "objective", [](auto& o) -> auto& { return o.objective; }, train::kObjectiveKinds,
          "Training objective: next tokens (causal_lm), one label or value per row (sequence_classification), with a TorchScript model "
          "target values (regression) or the loss that the model returns (module_loss), or with a text-to-image pipeline the noise in "
          "images (denoising).");
}

}  // namespace

const Table<TrainOptions>& training_table() {
  static const Table<TrainOptions> kTable = [] {
    Table<TrainOptions> table;
    add_extent(table);
    add_learning_rate(table);
    add_optimiser(table);
    add_loraplus(table);
    add_clipping_and_seed(table);
    add_rhythm(table);
    add_rest(table);
    add_denoising(table);
    return table;
  }();
  return kTable;
}

}  // namespace lora::config
