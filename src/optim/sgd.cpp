#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optim/groups.h"
#include "optim/kinds.h"

namespace lora::optim {
namespace {

/// p -= lr * (grad + weight_decay * p): here weight decay is part of the gradient (L2), not decoupled as in AdamW.
class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {}

  void update(double learning_rate, double gradient_scale) override {
    const at::NoGradGuard no_grad;
    for (const ParameterGroup& group : groups_) {
      const Updates updates = updates_of(group);
      if (updates.empty()) {
        continue;
      }
      std::vector<at::Tensor> steps = scaled_gradients(updates, gradient_scale);
      if (group.weight_decay != 0.0) {
        steps = at::_foreach_add(steps, updates.parameters, group.weight_decay);
      }
      at::_foreach_add_(updates.parameters, steps, -learning_rate * group.rate_factor);
    }
  }

  std::vector<io::NamedTensor> state() const override { return {}; }

 private:
  std::vector<ParameterGroup> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& /*options*/, std::vector<ParameterGroup> groups) {
  return std::make_unique<Sgd>(std::move(groups));
}

}  // namespace lora::optim
