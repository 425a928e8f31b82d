#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "lora/comm/communicator.h"
#include "lora/data/batches.h"
#include "lora/train/objective.h"
#include "lora/train/options.h"

namespace lora::train {

/// The micro-batches of an epoch (from 0), in order: a pure function of its number.
using EpochPlan = std::function<std::vector<MicroBatch>(int64_t epoch)>;

/// Those of a data set, which must outlive it (data::plan_epoch), for this process: with n processes every n-th, as in accelerate. All
/// processes have the same number of micro-batches, so that they take the same steps; the last one of some is empty.
EpochPlan epoch_plan(const data::Dataset& dataset, const data::BatchOptions& batches, const comm::Communicator& communicator);

/// Which micro-batches make up each optimiser step, over all epochs. Counted as by transformers' Trainer: an epoch has
/// ceil(micro-batches / gradient_accumulation_steps) steps, the last of which may be smaller; a run has
/// ceil(num_train_epochs × steps) or max_steps.
class StepPlan {
 public:
  /// Throws data Error if an epoch has no micro-batch.
  StepPlan(EpochPlan epochs, const TrainOptions& options);

  int64_t total_steps() const { return total_steps_; }
  /// The micro-batches of step `step` (from 0).
  std::vector<MicroBatch> micro_batches(int64_t step);
  /// Completed epochs after `steps` steps, e.g. 1.5.
  double epochs_after(int64_t steps);
  /// Whether the last of `steps` steps (at least 1) is the last of its epoch.
  bool ends_epoch(int64_t steps);

 private:
  struct StepPosition {
    int64_t epoch;
    int64_t step_in_epoch;
  };
  StepPosition locate(int64_t step);
  int64_t steps_in_epoch(int64_t epoch);
  const std::vector<MicroBatch>& plan(int64_t epoch);

  EpochPlan epochs_;
  int64_t accumulation_;
  int64_t total_steps_ = 0;
  std::vector<int64_t> steps_of_epoch_;  ///< lengths of the known epochs
  int64_t planned_epoch_ = -1;           ///< epoch of the plan in planned_
  std::vector<MicroBatch> planned_;
};

}  // namespace lora::train
