#include <ATen/ATen.h>

#include "optim/kinds.h"

namespace lora::optim {
namespace {

/// p -= lr * (grad + weight_decay * p): here weight decay is part of the gradient (L2), not decoupled as in AdamW.
class Sgd : public GroupedOptimizer {
 public:
  explicit Sgd(OptimizerParts parts) : GroupedOptimizer(std::move(parts)) {}

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    std::vector<at::Tensor> steps = scaled_gradients(updates, gradient_scale);
    if (groups_[index].weight_decay != 0.0) {
      steps = at::_foreach_add(steps, updates.parameters, groups_[index].weight_decay);
    }
    at::_foreach_add_(updates.parameters, steps, -rate);
  }

  std::vector<io::NamedTensor> own_state() const override { return {}; }
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(OptimizerParts parts) {
  return std::make_unique<Sgd>(std::move(parts));
}

}  // namespace lora::optim
