#pragma once
#include <cstdint>

#include "lora/train/options.h"

namespace lora::train {

struct StepReport;

/// How often something is done in a run.
struct Interval {
  Strategy strategy = Strategy::kNo;
  int64_t steps = 0;  ///< for kSteps

  /// Whether it is due after this step: for kEpoch after the last step of an epoch or of the run; never for kNo and kBest.
  bool is_due(const StepReport& report) const;
};

inline Interval every_steps(int64_t steps) {
  return {Strategy::kSteps, steps};
}

/// A number of steps as the config states it: a value below 1 is a share of all steps, rounded up, as in transformers.
int64_t whole_steps(double given, int64_t total_steps);

/// By eval_strategy and eval_steps; without both kNo, so that only the evaluation after the last step remains.
Interval eval_interval(const TrainOptions& options, int64_t total_steps);
/// By save_strategy and save_steps.
Interval save_interval(const TrainOptions& options, int64_t total_steps);

}  // namespace lora::train
