#include "optim/lion.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optim/kinds.h"
#include "optim/pieces.h"

namespace lora::optim {
namespace {

/// Chen et al. 2023, algorithm 2. One moment, in the parameter's dtype.
class Lion : public Optimizer {
 public:
  Lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups) : options_(options), groups_(std::move(groups)) {
    for (const ParameterGroup& group : groups_) {
      exp_avgs_.push_back(zero_moments(group));
    }
  }

  void update(double learning_rate, double gradient_scale) override {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < groups_.size(); ++i) {
      const Updates updates = updates_of(groups_[i]);
      const std::vector<at::Tensor> exp_avgs = chosen(exp_avgs_[i], updates);
      const double rate = learning_rate * groups_[i].rate_factor;
      const LionFactors factors{gradient_scale, options_.beta1, options_.beta2, 1.0 - rate * groups_[i].weight_decay, rate};
      if (updates.on_cpu()) {
        update_pieces(updates, [&]<typename Scalar>(const TensorSlice& piece, Scalar* parameter, const Scalar* gradient) {
          lion_update(factors, piece.count, parameter, gradient, data_at<Scalar>(exp_avgs, piece));
        });
      } else if (!updates.empty()) {
        lion_foreach(updates, exp_avgs, factors);
      }
    }
  }

  std::vector<io::NamedTensor> state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < exp_avgs_[i].size(); ++j) {
        tensors.push_back({groups_[i].parameters[j].name + ".exp_avg", exp_avgs_[i][j]});
      }
    }
    return tensors;
  }

 private:
  OptimizerOptions options_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::vector<at::Tensor>> exp_avgs_;  ///< by group and parameter
};

}  // namespace

void lion_foreach(const Updates& updates, const std::vector<at::Tensor>& exp_avgs, const LionFactors& factors) {
  const std::vector<at::Tensor> gradients = scaled_gradients(updates, factors.gradient_scale);
  std::vector<at::Tensor> directions = at::_foreach_mul(exp_avgs, factors.beta1);
  at::_foreach_add_(directions, gradients, 1.0 - factors.beta1);
  at::_foreach_sign_(directions);
  at::_foreach_mul_(updates.parameters, factors.decay);
  at::_foreach_add_(updates.parameters, directions, -factors.rate);
  at::_foreach_mul_(exp_avgs, factors.beta2);
  at::_foreach_add_(exp_avgs, gradients, 1.0 - factors.beta2);
}

std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<Lion>(options, std::move(groups));
}

}  // namespace lora::optim
