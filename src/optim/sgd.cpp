#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optim/groups.h"
#include "optim/kinds.h"

namespace lora::optim {
namespace {

/// p -= lr * (grad + weight_decay * p): here the decay is part of the gradient (L2), not decoupled as in AdamW.
class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {}

  void step(double learning_rate) override {
    const at::NoGradGuard no_grad;
    for (const ParameterGroup& group : groups_) {
      std::vector<at::Tensor> parameters;
      std::vector<at::Tensor> updates;
      for (const nn::Parameter& parameter : group.parameters) {
        if (parameter.tensor.grad().defined()) {
          parameters.push_back(parameter.tensor);
          updates.push_back(parameter.tensor.grad());
        }
      }
      if (parameters.empty()) {
        continue;
      }
      if (group.weight_decay != 0.0) {
        updates = at::_foreach_add(updates, parameters, group.weight_decay);
      }
      at::_foreach_add_(parameters, updates, -learning_rate * group.rate_factor);
    }
  }

  std::vector<io::NamedTensor> state() const override { return {}; }
  void load_state(const io::SafetensorsFile& /*file*/) override {}

 private:
  std::vector<ParameterGroup> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& /*options*/, std::vector<ParameterGroup> groups) {
  return std::make_unique<Sgd>(std::move(groups));
}

}  // namespace lora::optim
