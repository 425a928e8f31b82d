#include <ATen/ATen.h>

#include "optim/kinds.h"
#include "optim/pieces.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// Moments in the parameter's dtype, as in torch; `steps` count the updates of each parameter separately.
struct Moments {
  std::vector<Tensor> exp_avgs;
  std::vector<Tensor> exp_avg_sqs;
  std::vector<Tensor> steps;  ///< float32 scalars on the parameter's device: torch's kernel reads them there
};

class AdamW : public GroupedOptimizer {
 public:
  explicit AdamW(OptimizerParts parts) : GroupedOptimizer(std::move(parts)) {
    for (const ParameterGroup& group : groups_) {
      moments_.push_back({zero_moments(*memory_, group), zero_moments(*memory_, group), {}});
      for (const nn::Parameter& parameter : group.parameters) {
        moments_.back().steps.push_back(at::zeros({}, parameter.tensor.options().dtype(at::kFloat).requires_grad(false)));
      }
    }
  }

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    const Moments moments{chosen(moments_[index].exp_avgs, updates), chosen(moments_[index].exp_avg_sqs, updates),
                          chosen(moments_[index].steps, updates)};
    if (updates.on_cpu()) {
      update_in_one_pass(updates, moments, rate, groups_[index].weight_decay, gradient_scale);
    } else {
      update_by_torch(updates, moments, rate, groups_[index].weight_decay, gradient_scale);
    }
  }

  std::vector<io::NamedTensor> own_state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < groups_[i].parameters.size(); ++j) {
        const std::string& name = groups_[i].parameters[j].name;
        tensors.push_back({name + ".exp_avg", moments_[i].exp_avgs[j]});
        tensors.push_back({name + ".exp_avg_sq", moments_[i].exp_avg_sqs[j]});
        tensors.push_back({name + ".step", moments_[i].steps[j]});
      }
    }
    return tensors;
  }

 private:
  void update_in_one_pass(const Updates& updates, const Moments& moments, double rate, double weight_decay, double gradient_scale) const {
    std::vector<AdamWFactors> factors;
    for (const Tensor& step : moments.steps) {
      const float count = *step.mutable_data_ptr<float>() += 1.0F;
      factors.push_back(adamw_factors(options_, rate, weight_decay, count, gradient_scale));
    }
    update_pieces(updates, [&]<typename Scalar>(const TensorSlice& piece, Scalar* parameter, const Scalar* gradient) {
      adamw_update(factors[piece.tensor], piece.count, parameter, gradient, data_at<Scalar>(moments.exp_avgs, piece),
                   data_at<Scalar>(moments.exp_avg_sqs, piece));
    });
  }

  /// The kernel divides by its grad_scale and writes the gradient back.
  void update_by_torch(const Updates& updates, const Moments& moments, double rate, double weight_decay, double gradient_scale) const {
    at::_foreach_add_(moments.steps, 1);
    const std::optional<Tensor> divisor =
        gradient_scale == 1.0 ? std::nullopt : std::optional(at::full({}, 1.0 / gradient_scale, moments.steps.front().options()));
    at::_fused_adamw_(updates.parameters, updates.gradients, moments.exp_avgs, moments.exp_avg_sqs, /*max_exp_avg_sqs=*/{}, moments.steps,
                      rate, options_.beta1, options_.beta2, weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false, divisor);
  }

  std::vector<Moments> moments_;  ///< one per group
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(OptimizerParts parts) {
  return std::make_unique<AdamW>(std::move(parts));
}

}  // namespace lora::optim
