#include "app/run_series.h"

#include "app/data_start.h"
#include "app/run_batches.h"
#include "app/run_prompts.h"
#include "app/run_stages.h"
#include "app/summary.h"
#include "app/training_run.h"
#include "lora/base/counted.h"
#include "lora/base/log.h"
#include "lora/checkpoint/checkpoint.h"
#include "lora/nn/device.h"
#include "lora/optim/schedule.h"

namespace lora::app {

namespace {

using config::RunConfig;

void require_valid_schedule(const RunConfig& config, const train::StepPlan& steps) {
  optim::require_valid_schedule(complete_schedule(config.training, steps.total_steps()), config.training.learning_rate);
}

/// Accumulating more batches than an epoch has makes each epoch a single step, which is probably not intended.
void warn_of_accumulation(const RunConfig& config, train::StepPlan& steps) {
  const int64_t needed = config.training.gradient_accumulation_steps;
  const auto first = static_cast<int64_t>(steps.micro_batches(0).size());
  if (first < needed) {
    log::warn("[training.gradient_accumulation_steps] exceeds the length of an epoch: found " + std::to_string(needed) +
              ", expected at most " + counted(first, "batch", "batches") + ". Each epoch is a single step.");
  }
}

}  // namespace

MemoryPlan fit_into_memory(const RunConfig& config, const RunParts& parts, const RunPlan& plan, std::optional<int64_t> found) {
  if (config.training.finds_batch_size && plan.start == RunStart::kResume) {
    found = checkpoint::load_state(plan.checkpoint).batch_size;
  }
  return plan_memory({config, *parts.base.model, *parts.method, *parts.objective, parts.rows->train, parts.rows->eval_set(),
                      usable_memory_bytes(parts.base.model->device()), found});
}

void show_run(const RunConfig& config, const RunParts& parts, train::StepPlan& steps, const MemoryPlan& memory) {
  require_valid_schedule(config, steps);
  warn_of_accumulation(config, steps);
  const SummaryInput input{config,
                           parts.base,
                           *parts.method,
                           parts.rows->train,
                           parts.rows->eval_set(),
                           parts.rows->label_set(),
                           parts.prompts.summary,
                           steps.total_steps()};
  for (const std::string& line : summary_lines(input, memory)) {
    log::info(line);
  }
}

void announce_run(const config::RunList& list, size_t index) {
  if (list.runs.size() > 1) {
    log::info((list.sweep.empty() ? "Adapter " : "Run ") + std::to_string(index + 1) + " of " + std::to_string(list.runs.size()) + ": " +
              list.runs[index].name);
  }
}

std::string finished_line(const RunConfig& config, const RunPlan& plan) {
  return "This run has already finished" + (plan.changes.empty() ? "" : " (" + plan.changes + ")") + "; its result is in " +
         config.output_dir.string() + ". Use --resume never to train again from the start.";
}

RunSeries::RunSeries(const config::RunList& list, const std::string& resume, bool overwrite)
    : list_(list), communicator_(comm::make_single_process()), planned_(list.runs.size()) {
  // Lock the folders first: a second run on one of them must fail at once, not after loading.
  for (size_t i = 0; i < size(); ++i) {
    planned_[i].folder = communicator_->is_first() ? std::make_unique<RunFolder>(list.runs[i].output_dir) : nullptr;
  }
  parts_ = load_run(list.runs.front());
  require_one_template(list.runs, parts_.prompts.serves_pairs());
  plan_runs(resume, overwrite);
}

void RunSeries::plan_runs(const std::string& resume, bool overwrite) {
  const RunConfig& first = list_.runs.front();
  // The number of steps depends on the batch size.
  const std::optional<int64_t> found =
      first.training.finds_batch_size ? std::optional(fit_into_memory(first, parts_, {}).batch_size) : std::nullopt;
  RunHashes hashes(parts_);
  for (size_t i = 0; i < size(); ++i) {
    const RunConfig& config = list_.runs[i];
    const int64_t batch_size = found.value_or(config.training.per_device_train_batch_size);
    const train::StepPlan steps = plan_steps(config, parts_.rows->train, batch_size, *communicator_);
    require_valid_schedule(config, steps);
    if (i > 0) {  // the first is already attached
      require_attachable(config, parts_);
    }
    planned_[i].identity = identify_run(config.resolved, hashes.of(config));
    planned_[i].plan = plan_run(config.output_dir, planned_[i].identity, resume, overwrite);
    if (!config.training.finds_batch_size) {
      require_room(planned_[i].plan, steps.total_steps());
    }
  }
  for (const PlannedRun& run : planned_) {
    if (run.folder) {
      run.folder->prepare(run.plan);
    }
  }
}

void RunSeries::attach(size_t index) {
  if (index != attached_) {
    switch_run(list_.runs[attached_], list_.runs[index], parts_);
    attached_ = index;
  }
  if (parts_.method == nullptr) {
    attach_from_data(list_.runs[index], parts_, planned_[index].plan.checkpoint);
  }
}

void RunSeries::train(size_t index, std::optional<int64_t> pause_after) {
  const RunConfig& config = list_.runs[index];
  PlannedRun& run = planned_[index];
  announce_run(list_, index);
  if (run.is_paused) {
    run.plan = plan_run(config.output_dir, run.identity, "auto", /*overwrite=*/false);
  }
  if (run.plan.start == RunStart::kFinished) {
    log::info(finished_line(config, run.plan));
    return;
  }
  attach(index);
  const MemoryPlan memory = fit_into_memory(config, parts_, run.plan, found_batch_size_);
  // A run must not depend on the others.
  found_batch_size_ = config.training.finds_batch_size ? std::optional(memory.batch_size) : std::nullopt;
  train::StepPlan steps = plan_steps(config, parts_.rows->train, memory.batch_size, *communicator_);
  require_room(run.plan, steps.total_steps());
  show_run(config, parts_, steps, memory);
  run.is_paused = pause_after.has_value();
  train_run(config, parts_, steps, {run.folder.get(), run.identity, run.plan, pause_after}, memory, *communicator_);
}

int64_t RunSeries::total_steps(size_t index) {
  const RunConfig& config = list_.runs[index];
  const int64_t batch_size = found_batch_size_.value_or(config.training.per_device_train_batch_size);
  return plan_steps(config, parts_.rows->train, batch_size, *communicator_).total_steps();
}

}  // namespace lora::app
