#include "config/training_table.h"

#include "config/profile_field.h"
#include "config/schedule_arguments.h"

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
  for (const train::EvalMetric& metric : train::kEvalMetrics) {
    names.emplace_back(metric.name);
  }
  for (const train::EvalMetric& metric : train::kEvalMetrics) {
    names.emplace_back(metric.name.substr(std::string_view("eval_").size()));
  }
  const Rule rule = name_of(names);
  Field<TrainOptions> field{"metric_for_best_model",
                            "What the best model has the best of: of losses and errors the lowest, else the highest.", rule.schema,
                            "eval_loss", nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const Place& at) {
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
  Field<TrainOptions> field{"per_device_train_batch_size",
                            "Documents (with packing: bins of max_length tokens) that are computed at once; \"auto\": the largest power of "
                            "two up to 64 that fits into memory.",
                            rule.schema, TrainOptions{}.per_device_train_batch_size, nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const Place& at) {
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
  Field<TrainOptions> field{"lr_scheduler_kwargs", "Arguments of the schedule.", schema, Json::object(), nullptr};
  field.read = [](const Json& value, TrainOptions& options, const Place& at) {
    if (!value.is_null()) {
      schedule_table().read(value, options.schedule, at);
    }
  };
  return field;
}

/// How long, how much at a time.
void add_extent(Table<TrainOptions>& table) {
  table
      .value(
          "num_train_epochs", [](auto& o) -> auto& { return o.num_train_epochs; }, number({.above = 0, .to = 1e9}),
          "Times each row is trained on.")
      .value(
          "max_steps", [](auto& o) -> auto& { return o.max_steps; }, max_steps_rule(),
          "Optimiser steps in all, in place of num_train_epochs; -1: not set.")
      .custom(train_batch_size_field())
      .value(
          "per_device_eval_batch_size", [](auto& o) -> auto& { return o.per_device_eval_batch_size; }, integer(1, kLargestSize),
          "The same in evaluation.")
      .value(
          "gradient_accumulation_steps", [](auto& o) -> auto& { return o.gradient_accumulation_steps; }, integer(1, kLargestSize),
          "Batches that make one optimiser step.");
}

/// Learning rate and optimiser.
void add_optimisation(Table<TrainOptions>& table) {
  table
      .value(
          "learning_rate", [](auto& o) -> auto& { return o.learning_rate; }, number({.above = 0}), "The highest learning rate.")
      .choice(
          "lr_scheduler_type", [](auto& o) -> auto& { return o.schedule.kind; }, optim::kSchedules, "How the learning rate goes on.")
      .custom(schedule_arguments_field())
      .value(
          "warmup_steps", [](auto& o) -> auto& { return o.warmup_steps; }, warmup_steps_rule(),
          "Steps in which the learning rate rises from 0; below 1: a share of all steps.")
      .value(
          "warmup_ratio", [](auto& o) -> auto& { return o.warmup_ratio; }, number({.from = 0, .to = 1}),
          "The same as a share of all steps.")
      .value(
          "weight_decay", [](auto& o) -> auto& { return o.optimizer.weight_decay; }, number({.from = 0}),
          "Decoupled weight decay (in SGD: L2).")
      .choice(
          "optim", [](auto& o) -> auto& { return o.optimizer.kind; }, optim::kOptimizers,
          "The optimiser. adamw_torch is adamw_torch_fused; adamw_8bit keeps its moments in 8 bits, as bitsandbytes does.")
      .value(
          "adam_beta1", [](auto& o) -> auto& { return o.optimizer.beta1; }, number({.from = 0, .below = 1}),
          "Memory of gradients, of AdamW and Lion.")
      .value(
          "adam_beta2", [](auto& o) -> auto& { return o.optimizer.beta2; }, number({.from = 0, .below = 1}),
          "AdamW's memory of squared gradients; Lion's of gradients (0.99 in its paper).")
      .value(
          "adam_epsilon", [](auto& o) -> auto& { return o.optimizer.epsilon; }, number({.above = 0}), "AdamW's smallest divisor.")
      .value(
          "loraplus_lr_ratio", [](auto& o) -> auto& { return o.optimizer.loraplus.lr_ratio; }, nullable(number({.above = 0})),
          "LoRA+: the learning rate of B by that of A, 16 in its paper; null: the same.")
      .value(
          "loraplus_lr_embedding", [](auto& o) -> auto& { return o.optimizer.loraplus.lr_embedding; }, number({.from = 0}),
          "LoRA+: the highest learning rate of an adapted embedding (1e-6).")
      .only_where_given()
      .value(
          "loraplus_weight_decay", [](auto& o) -> auto& { return o.optimizer.loraplus.weight_decay; }, number({.from = 0}),
          "LoRA+: in place of weight_decay (0).")
      .only_where_given()
      .value(
          "max_grad_norm", [](auto& o) -> auto& { return o.max_grad_norm; }, number({.from = 0}),
          "Longer gradients are cut to this norm; 0: never.")
      .value(
          "seed", [](auto& o) -> auto& { return o.seed; }, integer(0), "Of everything random.");
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

/// null is the default, so that --set can take a number of steps back.
Field<TrainOptions> save_steps_field() {
  Rule rule = nullable(any_of({number({.from = 0, .below = 1}), integer(1)}));
  rule.expected = "a whole number of steps, or a share of all steps below 1; 0 for no checkpoints";
  Field<TrainOptions> field{"save_steps", "Steps between checkpoints; below 1: a share of all steps; 0: none.", rule.schema,
                            TrainOptions{}.save_steps, nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const Place& at) {
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
      "When to evaluate: no (never), steps (every eval_steps, else logging_steps) or epoch, both at the end too; null: "
      "every eval_steps, if that is given, and at the end.",
      rule.schema, nullptr, nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const Place& at) {
    if (accept(rule, value, at)) {
      options.eval_strategy = value.is_null() ? std::nullopt : train::kEvalStrategies.find(value.get<std::string>());
    }
  };
  field.show = [](const TrainOptions& options) {
    return options.eval_strategy ? Json(train::kEvalStrategies.name(*options.eval_strategy)) : Json(nullptr);
  };
  return field;
}

/// What happens every so many steps.
void add_rhythm(Table<TrainOptions>& table) {
  table
      .value(
          "logging_steps", [](auto& o) -> auto& { return o.logging_steps; }, steps_rule(),
          "Steps from one line of metrics to the next; below 1: a share of all steps.")
      .custom(eval_strategy_field())
      .value(
          "eval_steps", [](auto& o) -> auto& { return o.eval_steps; }, eval_steps_rule(),
          "Steps between evaluations; below 1: a share of all steps.")
      .value(
          "eval_on_start", [](auto& o) -> auto& { return o.eval_on_start; }, boolean(), "Evaluate before the first step too.")
      .choice(
          "save_strategy", [](auto& o) -> auto& { return o.save_strategy; }, train::kSaveStrategies,
          "When to write a checkpoint: no (only where a signal ends the run), steps (every save_steps) or epoch, both at the end too, or "
          "best "
          "(at each new best).")
      .custom(save_steps_field())
      .value(
          "save_total_limit", [](auto& o) -> auto& { return o.save_total_limit; }, nullable(integer(1)),
          "Checkpoints that are kept; null: all.")
      .value(
          "load_best_model_at_end", [](auto& o) -> auto& { return o.load_best_model_at_end; }, boolean(),
          "The result is the best checkpoint, not the last.")
      .custom(metric_field())
      .value(
          "early_stopping_patience", [](auto& o) -> auto& { return o.early_stopping_patience; }, nullable(integer(1)),
          "Stop after so many evaluations without gain; null: never.");
}

/// transformers' boolean too: true is "full".
Field<TrainOptions> gradient_checkpointing_field() {
  std::vector<Json> values{true, false};
  for (const std::string& name : train::kGradientCheckpointing.names()) {
    values.emplace_back(name);
  }
  const Rule rule = one_of(values);
  Field<TrainOptions> field{
      "gradient_checkpointing",
      "Compute activations again instead of keeping them: of feed-forward blocks, of whole layers, of layers whose inputs "
      "wait in the host's memory (on CUDA), or as little as fits into memory.",
      rule.schema, "off", nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const Place& at) {
    if (accept(rule, value, at)) {
      const std::string name = value.is_boolean() ? (value.get<bool>() ? "full" : "off") : value.get<std::string>();
      options.gradient_checkpointing = *train::kGradientCheckpointing.find(name);
    }
  };
  field.show = [](const TrainOptions& options) { return Json(train::kGradientCheckpointing.name(options.gradient_checkpointing)); };
  return field;
}

void add_rest(Table<TrainOptions>& table) {
  table.custom(gradient_checkpointing_field())
      .fixed("report_to", {"none", Json::array(), Json::array({"none"})}, "Loggers beside metrics.jsonl.")
      .value(
          "deterministic", [](auto& o) -> auto& { return o.deterministic; }, boolean(), "Only kernels that give the same bits each time.")
      .value(
          "cuda_graphs", [](auto& o) -> auto& { return o.cuda_graphs; }, boolean(),
          "Pad micro-batches to one shape and replay their passes as a CUDA graph: for small models, whose kernels are launched too "
          "slowly.")
      .custom(profile_field())
      .choice(
          "objective", [](auto& o) -> auto& { return o.objective; }, train::kObjectiveKinds, "What is learnt.");
}

}  // namespace

const Table<TrainOptions>& training_table() {
  static const Table<TrainOptions> kTable = [] {
    Table<TrainOptions> table;
    add_extent(table);
    add_optimisation(table);
    add_rhythm(table);
    add_rest(table);
    return table;
  }();
  return kTable;
}

}  // namespace lora::config
