#pragma once
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/ops/lanes.h"
#include "lora/train/objective.h"

namespace lora::train {

/// Parts whose gradients may be there at once, waiting for their turn.
inline constexpr int64_t kMostWaiting = 2 * kLanes;

/// Adds the gradients of `scale` times the losses of parts that are computed side by side to those there are, in the parts' order whichever
/// is done first, so that the sum does not depend on chance. The sum of the losses, a float64 scalar.
at::Tensor add_gradients_side_by_side(const Objective& objective, const std::vector<nn::Parameter>& parameters,
                                      const std::vector<MicroBatch>& parts, int64_t step, double scale, ops::Lanes& lanes);

}  // namespace lora::train
