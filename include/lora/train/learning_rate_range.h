#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "lora/train/trainer.h"

namespace lora::train {

/// One step of a range test.
struct RatePoint {
  double learning_rate = 0;
  double loss = 0;      ///< of the step, before its update
  double smoothed = 0;  ///< exponential mean of the losses up to this step, corrected for its start at 0
};

/// The range of a range test. Its defaults are those of fastai's lr_find.
struct RateRange {
  double first = 1e-7;
  double last = 10;
  int64_t steps = 100;
  double momentum = 0.98;  ///< of the smoothed loss
  double stop_factor = 4;  ///< the test ends where the smoothed loss exceeds this multiple of its lowest value
};

/// Trains with a learning rate that grows by the same factor at each step (Smith 2017, "Cyclical Learning Rates for Training Neural
/// Networks", section 3.3), until the loss rises or is not finite. Changes the parameters. `plan` must have the steps. Throws Interrupted
/// after a signal. The hooks of `parts` are not called.
std::vector<RatePoint> run_range_test(const TrainerParts& parts, const TrainOptions& options, StepPlan& plan, bool half_precision,
                                           const RateRange& range = {});

/// The learning rate at which the smoothed loss falls most for the same factor of the rate, before its lowest value; none if it never
/// falls.
std::optional<double> suggested_learning_rate(const std::vector<RatePoint>& points);

}  // namespace lora::train
