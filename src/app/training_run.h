#pragma once
#include "app/memory_plan.h"
#include "app/run_folder.h"
#include "app/run_parts.h"
#include "lora/comm/communicator.h"
#include "lora/config/run_config.h"
#include "lora/train/step_plan.h"

namespace lora::app {

/// The schedule with its steps filled in: a warm-up below 1 is a fraction of all steps, rounded up, as in transformers.
optim::ScheduleOptions complete_schedule(const train::TrainOptions& training, int64_t total_steps);

/// Where a run writes, and what it starts from.
struct RunTarget {
  RunFolder* folder;  ///< null in all but the first of several processes: they write nothing
  const RunIdentity& identity;
  const RunPlan& plan;
  std::optional<int64_t> pause_after = std::nullopt;  ///< the run evaluates, saves and ends after this step; none: at its end
};

/// Trains to the end, from the checkpoint of the target's plan if it has one, and writes the result into the folder. A run that is paused
/// writes a checkpoint and what run.json says of a result. Throws Interrupted after a checkpoint, Error (diverged), and what writing
/// throws.
void train_run(const config::RunConfig& config, RunParts& parts, train::StepPlan& steps, const RunTarget& target, const MemoryPlan& memory,
               comm::Communicator& communicator);

}  // namespace lora::app
