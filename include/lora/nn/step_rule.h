#pragma once
#include <cstdint>
#include <optional>

namespace lora::nn {

/// What a method does around each update of its trained tensors besides the optimiser (AdaLoRA's budget of ranks). All processes do the
/// same, because their gradients are summed before. Its state is saved and loaded by the method.
class StepRule {
 public:
  virtual ~StepRule() = default;

  /// Adds the gradient of a term of the loss that depends on the trained tensors alone. Returns the term.
  virtual double add_loss() = 0;
  /// After an update, while its gradients are still there.
  /// @param step the number of completed updates, from 1.
  /// @param gradient_scale what clipping multiplied the gradients by; none: they are not finite, and the update was skipped (float16).
  virtual void after_update(int64_t step, std::optional<double> gradient_scale) = 0;
};

}  // namespace lora::nn
