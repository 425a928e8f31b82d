#pragma once
#include <functional>
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/ops/lanes.h"
#include "lora/train/execution.h"

namespace lora::train {

/// The most parts whose gradients may exist at once, waiting for their turn.
inline constexpr int64_t kMostWaiting = 2 * kLanes;

/// Adds the gradients of `scale` times the losses of parts (`loss_of`, called on several threads) to the existing ones. The parts are
/// computed side by side, but added in their order, whichever is done first, so that the sum is reproducible. Returns the sum of the
/// losses, a float64 scalar.
at::Tensor add_gradients_side_by_side(const std::function<at::Tensor(const MicroBatch& part)>& loss_of,
                                      const std::vector<nn::Parameter>& parameters, const std::vector<MicroBatch>& parts, double scale,
                                      ops::Lanes& lanes);

}  // namespace lora::train
