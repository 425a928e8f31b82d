#include "app/training_run.h"

#include <algorithm>
#include <cmath>

#include "app/backend.h"
#include "app/run_batches.h"
#include "app/sample_hook.h"
#include "app/summary.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/metrics/sink.h"
#include "lora/nn/device.h"
#include "lora/nn/device_graph.h"
#include "lora/train/hooks.h"

namespace lora::app {

namespace {

/// Warm-up in steps: a number below 1 is a fraction of all steps, rounded up, as in transformers.
int64_t warmup_steps(const train::TrainOptions& training, int64_t total_steps) {
  const double share = training.warmup_steps > 0 && training.warmup_steps < 1 ? training.warmup_steps : training.warmup_ratio;
  if (training.warmup_steps >= 1) {
    return static_cast<int64_t>(training.warmup_steps);
  }
  return static_cast<int64_t>(std::ceil(share * static_cast<double>(total_steps)));
}

/// The size up to which a matrix product counts as the adapter's rather than the base model's: three times the rank, because projections of
/// the same input may have their A in one matrix.
int64_t low_rank(const config::RunConfig& config) {
  const auto* const lora = config.adapter.as<peft::LoraOptions>();
  if (lora == nullptr) {
    return 0;
  }
  int64_t rank = lora->r;
  for (const auto& [pattern, own] : lora->rank_pattern) {
    rank = std::max(rank, own);
  }
  return 3 * rank;
}

void warn_of_late_profile(const train::ProfileOptions& profile, int64_t total_steps) {
  if (profile.last > total_steps) {
    log::warn("[training.profile.steps] is beyond the end of the run: found [" + std::to_string(profile.first) + "," +
              std::to_string(profile.last) + "], expected at most " + std::to_string(total_steps) + ". " +
              (profile.first > total_steps ? "Nothing is profiled." : "The trace ends with the run."));
  }
}

/// What a run counts, and how it is called on the console and in the progress line.
struct Unit {
  const char* name = "tokens";
  const char* short_name = "tok";
  train::Counted counted = train::Counted::kInput;
};

Unit unit_of(const RunParts& parts) {
  const std::vector<data::Example>& examples = parts.rows->train.examples;
  if (examples.empty()) {
    return {};
  }
  if (examples.front().image() != nullptr) {
    return {"images", "images", train::Counted::kSupervised};
  }
  return examples.front().features() != nullptr ? Unit{"rows", "rows"} : Unit{};
}

/// The sinks and hooks of one run. The order of the hooks matters: a step is logged before it is evaluated, and saved after both. Only the
/// first of several processes reports and saves; all of them evaluate, so that they agree about the best model.
struct Watchers {
  Watchers(const config::RunConfig& config, const RunParts& parts, const optim::Optimizer& optimizer, int64_t resumed_step,
           int64_t total_steps, std::optional<int64_t> pause_after, bool is_first)
      : is_first(is_first),
        owned_sinks(is_first ? metrics::make_sinks(config.training.report_to, {config.output_dir, resumed_step, total_steps,
                                                                               unit_of(parts).name})
                             : std::vector<std::unique_ptr<metrics::Sink>>()),
        progress(unit_of(parts).short_name, unit_of(parts).counted),
        logging(train::whole_steps(config.training.logging_steps, total_steps), sinks(),
                [&parts] { return nn::peak_memory_bytes(parts.base.model->device()); }, unit_of(parts).counted),
        evaluation(*parts.objective,
                   {train::eval_interval(config.training, total_steps), config.training.eval_on_start,
                    config.training.early_stopping_patience, config.training.metric_for_best_model,
                    /*at_end=*/config.training.eval_strategy != train::Strategy::kNo},
                   sinks()),
        saving(
            config.output_dir,
            {train::save_interval(config.training, total_steps), config.training.save_total_limit, config.training.load_best_model_at_end},
            optimizer, [&config, &parts](const fs::path& folder) { parts.save(config, folder); }) {
    if (pause_after) {
      pause.emplace(*pause_after);
    }
    if (config.training.denoising.sample && is_first) {
      samples.emplace(config, *parts.base.model);
    }
    if (config.training.profile && is_first) {
      profile.emplace(config.output_dir / "profile", *config.training.profile, parts.base.model->device().is_cuda(), low_rank(config));
      warn_of_late_profile(*config.training.profile, total_steps);
    }
  }

  std::vector<metrics::Sink*> sinks() const {
    std::vector<metrics::Sink*> all;
    for (const std::unique_ptr<metrics::Sink>& sink : owned_sinks) {
      all.push_back(sink.get());
    }
    return all;
  }
  std::vector<train::Hook*> hooks(const RunParts& parts) {
    std::vector<train::Hook*> all;
    if (profile) {
      all.push_back(&*profile);
    }
    if (is_first) {
      all.insert(all.end(), {&progress, &logging});
    }
    if (parts.objective->has_evaluation()) {
      all.push_back(&evaluation);
    }
    if (samples) {
      all.push_back(&*samples);
    }
    if (is_first) {
      all.push_back(&saving);
    }
    if (pause) {
      all.push_back(&*pause);
    }
    return all;
  }

  bool is_first;
  std::vector<std::unique_ptr<metrics::Sink>> owned_sinks;
  std::optional<train::ProfileHook> profile;
  train::ProgressHook progress;
  train::LoggingHook logging;
  train::EvaluationHook evaluation;
  std::optional<SampleHook> samples;
  train::CheckpointHook saving;
  std::optional<train::PauseHook> pause;
};

/// run.json, which only the first of several processes writes.
struct RunRecord {
  RunFolder* folder;  ///< null in the others
  const RunIdentity& identity;
  const Json& config;
  RunFigures figures;

  void write(const std::string& status, const Json& result = Json::object()) const {
    if (folder != nullptr) {
      folder->write(identity, config, figures, status, result);
    }
  }
};

/// Copies the best checkpoint from the folder of the resumed checkpoint, because the end of the run needs it here.
void bring_best(const config::RunConfig& config, const fs::path& resumed, const train::TrainerState& state) {
  if (!config.training.load_best_model_at_end || !state.best_step) {
    return;
  }
  const fs::path here = checkpoint::folder(config.output_dir, *state.best_step);
  if (checkpoint::fault(here).empty()) {
    return;
  }
  const fs::path there = checkpoint::folder(fs::absolute(resumed).lexically_normal().parent_path(), *state.best_step);
  const std::string fault = checkpoint::fault(there);
  if (!fault.empty()) {
    config_error("--resume", "load_best_model_at_end needs the best checkpoint so far, '" + there.string() + "': " + fault);
  }
  write_folder_atomically(here, [&there](const fs::path& folder) { fs::copy(there, folder, fs::copy_options::recursive); });
}

/// Loads the weights of the best checkpoint. Returns its step, or the last step if there is nothing to load.
int64_t restore_best(const config::RunConfig& config, RunParts& parts, const train::TrainerState& state) {
  if (!config.training.load_best_model_at_end || !state.best_step || *state.best_step == state.step) {
    return state.step;
  }
  const fs::path best = checkpoint::folder(config.output_dir, *state.best_step);
  const std::string fault = checkpoint::fault(best);
  if (!fault.empty()) {
    model_error(best.string(), "the best checkpoint cannot be used: " + fault);
  }
  parts.method->load(best);
  return *state.best_step;
}

Json result_of(const RunParts& parts, const train::TrainerState& state, int64_t result_step, const std::string& metric) {
  const Figures figures = count_parameters(*parts.base.model, *parts.method);
  Json result;
  result["steps"] = state.step;
  result["epochs"] = state.epoch;
  result["result_step"] = result_step;
  result["trainable_parameters"] = figures.trainable;
  result["total_parameters"] = figures.total;
  const data::LabelSet* const labels = parts.rows->label_set();
  if (labels != nullptr && !labels->names.empty()) {
    result["labels"] = labels->names;
  }
  if (state.last_eval_loss) {
    result["last_eval_loss"] = *state.last_eval_loss;
  }
  if (state.best_metric) {
    result["best_" + metric] = *state.best_metric;
    result["best_step"] = *state.best_step;
  }
  return result;
}

void announce(const config::RunConfig& config, const RunParts& parts) {
  const peft::Method& method = *parts.method;
  const std::string folder = config.output_dir.string();
  log::info("Result: " + folder + "/" + method.weights_file() + " (" +
            human_bytes(static_cast<int64_t>(fs::file_size(config.output_dir / method.weights_file()))) + ")");
  log::info(backend_of(config.model, config.training.objective).next_step(config));
}

/// Loads a checkpoint into the method and the optimizer, and returns the state of training in it.
train::TrainerState resume(const config::RunConfig& config, const RunParts& parts, optim::Optimizer& optimizer, RunFolder* folder,
                           const RunPlan& plan, int64_t total_steps) {
  train::TrainerState state = checkpoint::load_state(plan.checkpoint);
  if (folder != nullptr) {
    folder->remove_checkpoints_after(state.step);
    bring_best(config, plan.checkpoint, state);
  }
  parts.method->load(plan.checkpoint);
  optimizer.load_state(io::SafetensorsFile(plan.checkpoint / "optimizer.safetensors"));
  log::info("Resuming from " + plan.checkpoint.string());
  if (!plan.changes.empty()) {
    log::info("The length of the run has changed (" + plan.changes + "): from now on the learning rate follows the schedule of " +
              std::to_string(total_steps) + " steps");
  }
  return state;
}

/// Trains to the end, and records in run.json if the run ends before.
void train_to_end(train::Trainer& trainer, train::TrainerState& state, const RunRecord& record) {
  try {
    trainer.run(state);
  } catch (const Interrupted&) {
    record.write("interrupted");
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kDiverged) {
      record.write("diverged");
    }
    throw;
  }
}

}  // namespace

void train_run(const config::RunConfig& config, RunParts& parts, train::StepPlan& steps, const RunTarget& target, const MemoryPlan& memory,
               comm::Communicator& communicator) {
  train::TrainOptions training = config.training;
  training.schedule = complete_schedule(training, steps.total_steps());
  const std::vector<nn::Parameter>& parameters = parts.method->parameters();
  const auto optimizer = optim::make_optimizer(training.optimizer, parameters, training.learning_rate);
  train::TrainerState state;
  if (target.plan.start == RunStart::kResume) {
    state = resume(config, parts, *optimizer, target.folder, target.plan, steps.total_steps());
  }
  state.run_id = target.identity.id;
  state.batch_size = training.finds_batch_size ? memory.batch_size : 0;
  const RunRecord record{target.folder, target.identity, config.resolved, {to_json(memory), weight_figures(*parts.base.model)}};
  record.write("running");

  train::StepRunner runner({*parts.objective, parts.rows->train, parameters, communicator}, memory.execution, training.seed);
  if (training.cuda_graphs) {
    train::require_recordable(*parts.base.model);
    runner.record_passes(nn::make_device_graph(parts.base.model->device()),
                         data::plan_epoch(parts.rows->train, train_batches(config, memory.batch_size), 0));
  }
  Watchers watchers(config, parts, *optimizer, state.step, steps.total_steps(), target.pause_after, communicator.is_first());
  train::Trainer trainer({*parts.objective, runner, parameters, *optimizer, communicator, watchers.hooks(parts),
                          parts.method->step_rule(steps.total_steps())},
                         training, steps, parts.base.model->dtype() == at::kHalf);
  train_to_end(trainer, state, record);
  if (target.pause_after && state.step < steps.total_steps() && state.step >= *target.pause_after) {
    if (communicator.is_first()) {
      watchers.saving.save_if_new(state);
      record.write("interrupted", result_of(parts, state, state.step, training.metric_for_best_model));
    }
    return;
  }
  const int64_t result_step = restore_best(config, parts, state);
  if (communicator.is_first()) {
    parts.save_result(config);
    record.write("finished", result_of(parts, state, result_step, training.metric_for_best_model));
    announce(config, parts);
  }
}

optim::ScheduleOptions complete_schedule(const train::TrainOptions& training, int64_t total_steps) {
  optim::ScheduleOptions schedule = training.schedule;
  schedule.total_steps = total_steps;
  schedule.warmup_steps = warmup_steps(training, total_steps);
  return schedule;
}

}  // namespace lora::app
