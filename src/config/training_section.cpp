#include <cmath>

#include "config/denoising_keys.h"
#include "config/schedule_arguments.h"
#include "config/sections.h"
#include "config/training_table.h"

namespace lora::config {

namespace {

using train::TrainOptions;

void check_schedule(const TrainOptions& options, const Json& section, const ConfigPlace& at) {
  if (options.warmup_steps > 0 && options.warmup_ratio > 0 && at.sound({"warmup_steps", "warmup_ratio"})) {
    at.key("warmup_ratio")
        .add("found " + number_json(options.warmup_ratio).dump() + " with warmup_steps " + number_json(options.warmup_steps).dump() +
             ", expected one of the two");
  }
  const auto given = section.find("lr_scheduler_kwargs");
  const bool is_given = given != section.end() && given->is_object();
  if (at.sound({"lr_scheduler_type", "learning_rate"})) {
    check_schedule_arguments(options.schedule, options.learning_rate, is_given ? *given : Json::object(), at.key("lr_scheduler_kwargs"));
  }
}

/// The default is accepted for every kind, so that a resolved config can be used with another optimiser.
void check_optimizer(const TrainOptions& options, const ConfigPlace& at) {
  const optim::OptimizerOptions& found = options.optimizer;
  const optim::OptimizerOptions defaults;
  const optim::OptimizerFacts& facts = optim::facts_of(found.kind);
  const std::string name(optim::kOptimizers.name(found.kind));
  const auto check = [&](const std::string& key, double value, double fallback, bool is_used) {
    if (value != fallback && !is_used) {
      at.key(key).add("found " + number_json(value).dump() + ", which the optimiser " + name +
                      " does not use. Remove it, or choose another optim.");
    }
  };
  check("adam_beta1", found.beta1, defaults.beta1, facts.keeps_moments);
  check("adam_beta2", found.beta2, defaults.beta2, facts.keeps_moments);
  check("adam_epsilon", found.epsilon, defaults.epsilon, facts.uses_epsilon);
  if (!found.state_file.empty() && !facts.keeps_moments && at.sound({"optim_state_file"})) {
    at.key("optim_state_file")
        .add("found " + shown(Json(found.state_file.string())) + " with the optimiser " + name +
             ", which keeps no moments of the parameters' size. Remove it, or choose another optim.");
  }
}

/// PEFT's create_loraplus_optimizer has a weight decay of its own; nothing may be silently ignored.
void check_loraplus(const TrainOptions& options, const Json& section, const ConfigPlace& at) {
  if (!options.optimizer.loraplus.lr_ratio) {
    for (const char* key : {"loraplus_lr_embedding", "loraplus_weight_decay"}) {
      if (section.contains(key)) {
        at.key(key).add("needs loraplus_lr_ratio: LoRA+ is off without it");
      }
    }
  } else if (options.optimizer.weight_decay > 0) {
    at.key("weight_decay")
        .add("found " + number_json(options.optimizer.weight_decay).dump() +
             " with loraplus_lr_ratio, expected 0: LoRA+ uses loraplus_weight_decay, as in PEFT");
  }
}

/// Refuses keys that need evaluation rows.
void check_eval_data(const TrainOptions& options, const ConfigPlace& at) {
  const auto need = [&](bool is_set, const char* key) {
    if (is_set) {
      at.key(key).add("needs evaluation rows, and there are none: set data.eval or data.eval_fraction");
    }
  };
  need(options.eval_strategy.value_or(train::Strategy::kNo) != train::Strategy::kNo, "eval_strategy");
  need(options.eval_steps.has_value(), "eval_steps");
  need(options.save_strategy == train::Strategy::kBest, "save_strategy");
  need(options.eval_on_start, "eval_on_start");
  need(options.load_best_model_at_end, "load_best_model_at_end");
  need(options.early_stopping_patience.has_value(), "early_stopping_patience");
}

/// Whether the whole number `a` is a multiple of `b`; shares of all steps are compared as transformers does.
bool is_multiple(double a, double b) {
  constexpr double kLargeMultiplier = 1'000'000;
  const double factor = a < 1 && b < 1 ? kLargeMultiplier : 1;
  return std::fmod(a * factor, b * factor) == 0;
}

/// The rule of transformers: every checkpoint is of an evaluated step, so that there is one of the best model.
void check_best_model(const TrainOptions& options, const ConfigPlace& at) {
  using train::Strategy;
  const ConfigPlace place = at.key("load_best_model_at_end");
  const bool by_epoch = options.eval_strategy == Strategy::kEpoch;
  const bool by_steps = options.eval_steps || options.eval_strategy == Strategy::kSteps;
  const double eval_steps = options.eval_steps.value_or(options.logging_steps);
  if (!by_epoch && !by_steps) {
    place.add("needs training.eval_steps: found null there, expected an integer >= 1, or eval_strategy \"epoch\"");
  } else if (options.save_strategy == Strategy::kBest) {
    return;
  } else if (by_epoch != (options.save_strategy == Strategy::kEpoch)) {
    place.add("needs a checkpoint of an evaluated step: found save_strategy \"" +
              std::string(train::kSaveStrategies.name(options.save_strategy)) + "\" with evaluation by " + (by_epoch ? "epoch" : "steps") +
              ", expected the same strategy, or save_strategy \"best\"");
  } else if (by_steps &&
             ((eval_steps < 1) != (options.save_steps < 1) || options.save_steps == 0 || !is_multiple(options.save_steps, eval_steps))) {
    place.add("needs a checkpoint of an evaluated step: found save_steps " + number_json(options.save_steps).dump() +
              ", expected a multiple of eval_steps, which is " + number_json(eval_steps).dump());
  }
}

/// Refuses a number of steps with a strategy that does not count steps.
void check_steps_of(const char* key, const std::string& strategy_key, const std::string& strategy, const Json& section,
                    const ConfigPlace& at) {
  if (strategy != "steps" && section.contains(key) && !section[key].is_null() && section[key] != 0) {
    at.key(key).add("found " + shown(section[key]) + " with " + strategy_key + " \"" + strategy +
                    "\", which does not count steps. Remove one of them, or use " + strategy_key + " \"steps\".");
  }
}

/// save_steps 0 and save_strategy "no" mean the same.
void settle_strategies(TrainOptions& options, const Json& section, const ConfigPlace& at) {
  using train::Strategy;
  if (options.eval_strategy) {
    check_steps_of("eval_steps", "eval_strategy", std::string(train::kEvalStrategies.name(*options.eval_strategy)), section, at);
  }
  check_steps_of("save_steps", "save_strategy", std::string(train::kSaveStrategies.name(options.save_strategy)), section, at);
  if (options.save_strategy == Strategy::kSteps && options.save_steps == 0) {
    if (section.contains("save_strategy")) {
      at.key("save_steps").add("found 0 with save_strategy \"steps\", expected a number of steps, or save_strategy \"no\"");
    }
    options.save_strategy = Strategy::kNo;
  }
  if (options.save_strategy == Strategy::kNo) {
    options.save_steps = 0;
  }
  if (options.save_strategy == Strategy::kBest && options.eval_strategy == Strategy::kNo) {
    at.key("save_strategy").add("found \"best\" with eval_strategy \"no\", expected another eval_strategy, or another save_strategy");
  }
}

/// Early stopping counts evaluations within the run.
void check_early_stopping(const TrainOptions& options, const ConfigPlace& at) {
  const bool evaluates = options.eval_strategy ? *options.eval_strategy != train::Strategy::kNo : options.eval_steps.has_value();
  if (options.early_stopping_patience && !evaluates) {
    at.key("early_stopping_patience")
        .add("counts evaluations and needs training.eval_steps: found null there, expected an integer >= 1, or eval_strategy \"epoch\"");
  }
}

Json resolved_training(const TrainOptions& options, const Json& section) {
  Json resolved = training_table().resolved(options, section);
  const Json given = section.is_object() ? section.value("lr_scheduler_kwargs", Json()) : Json();
  resolved["lr_scheduler_kwargs"] = given.is_object() ? schedule_table().resolved(options.schedule, given) : Json::object();
  if (options.save_strategy == train::Strategy::kEpoch || options.save_strategy == train::Strategy::kBest) {
    resolved.erase("save_steps");  // without effect there, and would be refused
  }
  return resolved;
}

}  // namespace

Json training_schema() {
  return training_table().schema();
}

Section<TrainOptions> read_training(const Json& section, const ConfigPlace& at, EvalData eval_data, const Context& context) {
  Section<TrainOptions> result;
  TrainOptions& options = result.options;
  training_table().read(section, options, at);
  if (section.is_object() && at.sound({"eval_strategy", "eval_steps", "save_strategy", "save_steps"})) {
    settle_strategies(options, section, at);
  }
  if (std::filesystem::path& folder = options.optimizer.state_file; !folder.empty()) {
    folder = absolute_path(context, folder);
  }
  options.optimizer.rounding_seed = options.seed;
  result.resolved = resolved_training(options, section);
  if (!section.is_object()) {
    return result;
  }
  check_schedule(options, section, at);
  check_denoising(options, at);
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
  const bool rhythm_is_sound = at.sound({"eval_strategy", "eval_steps", "save_strategy", "save_steps", "logging_steps"});
  if (options.load_best_model_at_end && rhythm_is_sound && at.sound({"load_best_model_at_end"})) {
    check_best_model(options, at);
  }
  if (rhythm_is_sound) {
    check_early_stopping(options, at);
  }
  return result;
}

}  // namespace lora::config
