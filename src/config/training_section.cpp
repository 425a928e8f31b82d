#include <algorithm>

#include "config/schedule_arguments.h"
#include "config/sections.h"
#include "config/training_table.h"

namespace lora::config {

namespace {

using train::TrainOptions;

void check_schedule(const TrainOptions& options, const Json& section, const Place& at) {
  if (options.warmup_steps > 0 && options.warmup_ratio > 0 && at.sound({"warmup_steps", "warmup_ratio"})) {
    at.key("warmup_ratio")
        .add("found " + number_json(options.warmup_ratio).dump() + " beside warmup_steps " + number_json(options.warmup_steps).dump() +
             ", expected one of the two");
  }
  const auto given = section.find("lr_scheduler_kwargs");
  const bool is_given = given != section.end() && given->is_object();
  if (at.sound({"lr_scheduler_type", "learning_rate"})) {
    check_schedule_arguments(options.schedule, options.learning_rate, is_given ? *given : Json::object(), at.key("lr_scheduler_kwargs"));
  }
}

/// The optimiser's own options that a kind uses.
std::vector<std::string> arguments_of(optim::OptimizerKind kind) {
  switch (kind) {
    case optim::OptimizerKind::kAdamWFused:
    case optim::OptimizerKind::kAdamW:
    case optim::OptimizerKind::kAdamW8bit:
      return {"adam_beta1", "adam_beta2", "adam_epsilon"};
    case optim::OptimizerKind::kLion:
      return {"adam_beta1", "adam_beta2"};
    case optim::OptimizerKind::kAdafactor:
    case optim::OptimizerKind::kSgd:
      break;
  }
  return {};
}

/// The default is accepted everywhere, so that a resolved config can be given back with another optimiser.
void check_optimizer(const TrainOptions& options, const Place& at) {
  const optim::OptimizerOptions& found = options.optimizer;
  const optim::OptimizerOptions defaults;
  const std::vector<std::string> used = arguments_of(found.kind);
  const auto check = [&](const std::string& key, double value, double fallback) {
    if (value != fallback && std::find(used.begin(), used.end(), key) == used.end()) {
      at.key(key).add("found " + number_json(value).dump() + ", which the optimiser " + std::string(optim::kOptimizers.name(found.kind)) +
                      " does not use. Leave it out, or choose another optim");
    }
  };
  check("adam_beta1", found.beta1, defaults.beta1);
  check("adam_beta2", found.beta2, defaults.beta2);
  check("adam_epsilon", found.epsilon, defaults.epsilon);
}

/// PEFT's create_loraplus_optimizer has a weight decay of its own; nothing may be silently ignored.
void check_loraplus(const TrainOptions& options, const Json& section, const Place& at) {
  if (!options.optimizer.loraplus.lr_ratio) {
    for (const char* key : {"loraplus_lr_embedding", "loraplus_weight_decay"}) {
      if (section.contains(key)) {
        at.key(key).add("needs loraplus_lr_ratio beside it: LoRA+ is off without");
      }
    }
  } else if (options.optimizer.weight_decay > 0) {
    at.key("weight_decay")
        .add("found " + number_json(options.optimizer.weight_decay).dump() +
             " beside loraplus_lr_ratio, expected 0: LoRA+ decays by loraplus_weight_decay, as in PEFT");
  }
}

/// Everything that only makes sense with something to evaluate on.
void check_eval_data(const TrainOptions& options, const Place& at) {
  const auto need = [&](bool is_set, const char* key) {
    if (is_set) {
      at.key(key).add("needs something to evaluate on, and there is none: give data.eval or data.eval_fraction");
    }
  };
  need(options.eval_steps.has_value(), "eval_steps");
  need(options.eval_on_start, "eval_on_start");
  need(options.load_best_model_at_end, "load_best_model_at_end");
  need(options.early_stopping_patience.has_value(), "early_stopping_patience");
}

void check_best_model(const TrainOptions& options, const Place& at) {
  const Place place = at.key("load_best_model_at_end");
  if (!options.eval_steps) {
    place.add("needs training.eval_steps: found null there, expected an integer >= 1");
  } else if (options.save_steps == 0 || options.save_steps % *options.eval_steps != 0) {
    place.add("needs a checkpoint of an evaluated step: found save_steps " + std::to_string(options.save_steps) +
              ", expected a multiple of eval_steps, which is " + std::to_string(*options.eval_steps));
  }
}

}  // namespace

Json training_schema() {
  return training_table().schema();
}

Section<TrainOptions> read_training(const Json& section, const Place& at, EvalData eval_data) {
  Section<TrainOptions> result;
  TrainOptions& options = result.options;
  training_table().read(section, options, at);
  result.resolved = training_table().resolved(options, section);
  if (!section.is_object()) {
    return result;
  }
  if (const auto given = section.find("lr_scheduler_kwargs"); given != section.end() && given->is_object()) {
    result.resolved["lr_scheduler_kwargs"] = schedule_table().resolved(options.schedule, *given);
  } else {
    result.resolved["lr_scheduler_kwargs"] = Json::object();
  }
  check_schedule(options, section, at);
  if (at.sound({"optim", "adam_beta1", "adam_beta2", "adam_epsilon"})) {
    check_optimizer(options, at);
  }
  if (at.sound({"loraplus_lr_ratio", "weight_decay"})) {
    check_loraplus(options, section, at);
  }
  if (eval_data == EvalData::kNone) {
    check_eval_data(options, at);
    return result;
  }
  if (options.load_best_model_at_end && at.sound({"load_best_model_at_end", "eval_steps", "save_steps"})) {
    check_best_model(options, at);
  }
  if (options.early_stopping_patience && !options.eval_steps && at.sound({"eval_steps"})) {
    at.key("early_stopping_patience").add("counts evaluations and needs training.eval_steps: found null there, expected an integer >= 1");
  }
  return result;
}

}  // namespace lora::config
