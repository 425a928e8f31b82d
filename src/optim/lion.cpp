#include "optim/lion.h"

#include <ATen/ATen.h>

#include "optim/kinds.h"
#include "optim/pieces.h"

namespace lora::optim {
namespace {

/// Chen et al. 2023, algorithm 2. One moment.
class Lion : public GroupedOptimizer {
 public:
  Lion(OptimizerParts parts, MomentFormat format) : GroupedOptimizer(std::move(parts)), format_(format) {
    for (const ParameterGroup& group : groups_) {
      exp_avgs_.emplace_back();
      for (const nn::Parameter& parameter : group.parameters) {
        exp_avgs_.back().push_back(make_moment(*memory_, parameter.tensor, format));
      }
    }
  }

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    std::vector<StoredMoment> exp_avgs;
    for (const size_t i : updates.indices) {
      exp_avgs.push_back(exp_avgs_[index][i]);
    }
    const LionFactors factors{gradient_scale, options_.beta1, options_.beta2, 1.0 - rate * groups_[index].weight_decay, rate};
    if (updates.on_cpu()) {
      update_pieces(updates, [&]<typename Scalar>(const TensorSlice& piece, Scalar* parameter, const Scalar* gradient) {
        update_piece(exp_avgs[piece.tensor], factors, piece, parameter, gradient);
      });
    } else {
      update_by_operators(updates, exp_avgs, factors);
    }
  }

  std::vector<io::NamedTensor> own_state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < exp_avgs_[i].size(); ++j) {
        add_state(tensors, groups_[i].parameters[j].name + ".exp_avg", exp_avgs_[i][j]);
      }
    }
    return tensors;
  }

 private:
  template <typename Scalar>
  void update_piece(const StoredMoment& exp_avg, const LionFactors& factors, const TensorSlice& piece, Scalar* parameter,
                    const Scalar* gradient) const {
    if (exp_avg.quantized()) {
      lion_8bit_update(factors, piece.count, parameter, gradient, codes_at(exp_avg, piece.begin, true));
    } else if (format_ == MomentFormat::kAsParameter) {
      lion_update(factors, piece.count, parameter, gradient, exp_avg.values.mutable_data_ptr<Scalar>() + piece.begin);
    } else {
      lion_update(factors, piece.count, parameter, gradient, exp_avg.values.mutable_data_ptr<float>() + piece.begin);
    }
  }

  void update_by_operators(const Updates& updates, const std::vector<StoredMoment>& exp_avgs, const LionFactors& factors) const {
    if (format_ != MomentFormat::kAsParameter) {
      for (size_t i = 0; i < exp_avgs.size(); ++i) {
        lion_by_operators(updates.parameters[i], exp_avgs[i], updates.gradients[i], factors);
      }
      return;
    }
    std::vector<at::Tensor> values;
    for (const StoredMoment& moment : exp_avgs) {
      values.push_back(moment.values);
    }
    lion_foreach(updates, values, factors);
  }

  MomentFormat format_;
  std::vector<std::vector<StoredMoment>> exp_avgs_;  ///< by group and parameter
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

void lion_by_operators(const at::Tensor& parameter, const StoredMoment& exp_avg, const at::Tensor& gradient, const LionFactors& factors) {
  const at::Tensor moment = loaded(exp_avg, true);
  const at::Tensor scaled = (in_memory_order(gradient) * factors.gradient_scale).to(at::kFloat);
  const at::Tensor direction = (moment * factors.beta1).add_(scaled, 1.0 - factors.beta1).sign_();
  const at::Tensor values = in_memory_order(parameter);
  values.copy_(values.to(at::kFloat).mul(factors.decay).sub_(direction, factors.rate));
  moment.mul_(factors.beta2).add_(scaled, 1.0 - factors.beta2);
  store(exp_avg, moment, true);
}

std::unique_ptr<Optimizer> make_lion(OptimizerParts parts) {
  return std::make_unique<Lion>(std::move(parts), MomentFormat::kAsParameter);
}

std::unique_ptr<Optimizer> make_lion_32bit(OptimizerParts parts) {
  return std::make_unique<Lion>(std::move(parts), MomentFormat::kFloat32);
}

std::unique_ptr<Optimizer> make_lion_8bit(OptimizerParts parts) {
  return std::make_unique<Lion>(std::move(parts), MomentFormat::k8bit);
}

}  // namespace lora::optim
