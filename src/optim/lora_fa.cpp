// R rank, I inputs, O outputs.
#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "optim/kinds.h"

namespace lora::optim {
namespace {

using at::Tensor;
using nn::ParameterRole;

/// Added to the diagonal of A Aᵀ before it is inverted.
constexpr double kDamping = 1e-8;

/// What an update of one parameter needs besides its gradient.
struct LoraFaSlot {
  Tensor exp_avg;
  Tensor exp_avg_sq;
  Tensor step;  ///< float32 scalar in CPU memory
  Tensor A;     ///< of a B; undefined: the parameter is no half of a pair
};

bool is_frozen(ParameterRole role) {
  return role == ParameterRole::kLowRankA || role == ParameterRole::kEmbeddingA;
}

/// The module's name, which the halves of a pair share.
std::string module_name(const std::string& parameter, const char* part) {
  return parameter.substr(0, parameter.rfind(part));
}

/// LoRA-FA (Zhang et al. 2023, arXiv 2308.03303) as peft.optimizers.lorafa: A is not trained, and the gradient of B is the one whose
/// update of the weight is closest to full fine-tuning's. Then AdamW, whose epsilon is not corrected for bias and whose decay follows the
/// update. The projection is computed in float32, where PEFT uses bfloat16 if the processor has it.
class LoraFa : public GroupedOptimizer {
 public:
  explicit LoraFa(OptimizerParts parts) : GroupedOptimizer(std::move(parts)) {
    std::map<std::string, Tensor> frozen;
    for (const ParameterGroup& group : groups_) {
      for (const nn::Parameter& parameter : group.parameters) {
        if (is_frozen(parameter.role)) {
          parameter.tensor.set_requires_grad(false);
          frozen.emplace(module_name(parameter.name, parameter.role == ParameterRole::kLowRankA ? ".lora_A" : ".lora_embedding_A"),
                         parameter.tensor);
        }
      }
    }
    for (const ParameterGroup& group : groups_) {
      slots_.emplace_back();
      for (const nn::Parameter& parameter : group.parameters) {
        slots_.back().push_back(slot_of(parameter, frozen));
      }
    }
  }

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    for (size_t i = 0; i < updates.indices.size(); ++i) {
      const size_t at = updates.indices[i];
      update_one(groups_[index].parameters[at], slots_[index][at], updates.gradients[i] * gradient_scale, rate,
                 groups_[index].weight_decay);
    }
  }

  std::vector<io::NamedTensor> own_state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < slots_[i].size(); ++j) {
        const LoraFaSlot& slot = slots_[i][j];
        if (slot.exp_avg.defined()) {
          const std::string& name = groups_[i].parameters[j].name;
          tensors.push_back({name + ".exp_avg", slot.exp_avg});
          tensors.push_back({name + ".exp_avg_sq", slot.exp_avg_sq});
          tensors.push_back({name + ".step", slot.step});
        }
      }
    }
    return tensors;
  }

 private:
  LoraFaSlot slot_of(const nn::Parameter& parameter, const std::map<std::string, Tensor>& frozen) const {
    if (is_frozen(parameter.role)) {
      return {};
    }
    const at::ScalarType type = parameter.tensor.scalar_type();
    LoraFaSlot slot{memory_->zeros_like(parameter.tensor, type), memory_->zeros_like(parameter.tensor, type),
                    at::zeros({}, at::kFloat), {}};
    if (parameter.role == ParameterRole::kLowRankB || parameter.role == ParameterRole::kEmbeddingB) {
      slot.A = frozen.at(module_name(parameter.name, parameter.role == ParameterRole::kLowRankB ? ".lora_B" : ".lora_embedding_B"));
    }
    return slot;
  }

  /// g (A Aᵀ)⁻¹ / scale². Those of convolutions have more dimensions.
  static Tensor projected(const Tensor& gradient, const Tensor& A, double scale) {
    const Tensor A_RI = A.detach().flatten(1);
    const Tensor square_RR = A_RI.mm(A_RI.t());
    const Tensor damped_RR = square_RR + kDamping * at::eye(square_RR.size(0), square_RR.options());
    return (gradient.flatten(1).mm(at::linalg_pinv(damped_RR)) * (1.0 / (scale * scale))).view_as(gradient);
  }

  void update_one(const nn::Parameter& parameter, const LoraFaSlot& slot, Tensor gradient, double rate, double weight_decay) const {
    if (slot.A.defined()) {
      gradient = projected(gradient, slot.A, parameter.scale);
    }
    const double step = *slot.step.mutable_data_ptr<float>() += 1.0F;
    slot.exp_avg.mul_(options_.beta1).add_(gradient, 1.0 - options_.beta1);
    slot.exp_avg_sq.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
    const Tensor denominator = slot.exp_avg_sq.sqrt().add_(options_.epsilon);
    const double corrected = rate * std::sqrt(1.0 - std::pow(options_.beta2, step)) / (1.0 - std::pow(options_.beta1, step));
    const Tensor values = parameter.tensor.detach();
    values.addcdiv_(slot.exp_avg, denominator, -corrected);
    if (weight_decay > 0.0) {
      values.mul_(1.0 - rate * weight_decay);
    }
  }

  std::vector<std::vector<LoraFaSlot>> slots_;  ///< by group and parameter
};

}  // namespace

std::unique_ptr<Optimizer> make_lora_fa(OptimizerParts parts) {
  return std::make_unique<LoraFa>(std::move(parts));
}

}  // namespace lora::optim
