#include "optim/adamw_blockwise.h"

#include <ATen/ATen.h>

#include "optim/kinds.h"
#include "optim/pieces.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// bitsandbytes' AdamW: moments in float32, or in block-wise quantised 8 bits (Dettmers et al. 2021).
class BlockwiseAdamW : public GroupedOptimizer {
 public:
  BlockwiseAdamW(OptimizerParts parts, MomentFormat format) : GroupedOptimizer(std::move(parts)) {
    for (const ParameterGroup& group : groups_) {
      slots_.emplace_back();
      for (const nn::Parameter& parameter : group.parameters) {
        slots_.back().push_back(make_adamw_slot(*memory_, parameter.tensor, format));
      }
    }
  }

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    std::vector<const AdamWSlot*> slots;
    std::vector<AdamWFactors> factors;
    for (const size_t i : updates.indices) {
      slots.push_back(&slots_[index][i]);
      const float count = *slots.back()->step.mutable_data_ptr<float>() += 1.0F;
      factors.push_back(adamw_factors(options_, rate, groups_[index].weight_decay, count, gradient_scale));
    }
    if (updates.on_cpu()) {
      update_pieces(updates, [&]<typename Scalar>(const TensorSlice& piece, Scalar* parameter, const Scalar* gradient) {
        update_piece(*slots[piece.tensor], factors[piece.tensor], piece, parameter, gradient);
      });
      return;
    }
    for (size_t i = 0; i < slots.size(); ++i) {
      adamw_by_operators(updates.parameters[i], *slots[i], updates.gradients[i], factors[i]);
    }
  }

  std::vector<io::NamedTensor> own_state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < slots_[i].size(); ++j) {
        const std::string& name = groups_[i].parameters[j].name;
        add_state(tensors, name + ".exp_avg", slots_[i][j].exp_avg);
        add_state(tensors, name + ".exp_avg_sq", slots_[i][j].exp_avg_sq);
        tensors.push_back({name + ".step", slots_[i][j].step});
      }
    }
    return tensors;
  }

 private:
  template <typename Scalar>
  static void update_piece(const AdamWSlot& slot, const AdamWFactors& factors, const TensorSlice& piece, Scalar* parameter,
                           const Scalar* gradient) {
    if (slot.exp_avg.quantized()) {
      adamw_8bit_update(factors, piece.count, parameter, gradient, codes_at(slot.exp_avg, piece.begin, true),
                        codes_at(slot.exp_avg_sq, piece.begin, false));
    } else {
      adamw_update(factors, piece.count, parameter, gradient, slot.exp_avg.values.mutable_data_ptr<float>() + piece.begin,
                   slot.exp_avg_sq.values.mutable_data_ptr<float>() + piece.begin);
    }
  }

  std::vector<std::vector<AdamWSlot>> slots_;  ///< by group and parameter
};

}  // namespace

AdamWSlot make_adamw_slot(StateMemory& memory, const Tensor& parameter, MomentFormat format) {
  return {make_moment(memory, parameter, format), make_moment(memory, parameter, format), at::zeros({}, at::kFloat)};
}

void adamw_by_operators(const Tensor& parameter, const AdamWSlot& slot, const Tensor& gradient, const AdamWFactors& factors) {
  const Tensor exp_avg = loaded(slot.exp_avg, true);
  const Tensor exp_avg_sq = loaded(slot.exp_avg_sq, false);
  const Tensor scaled = (in_memory_order(gradient) * factors.gradient_scale).to(at::kFloat);
  exp_avg.lerp_(scaled, 1.0 - factors.beta1);
  exp_avg_sq.mul_(factors.beta2).addcmul_(scaled, scaled, 1.0 - factors.beta2);
  const Tensor divisor = (exp_avg_sq.sqrt() / factors.correction2).add_(factors.epsilon);
  const Tensor values = in_memory_order(parameter);
  values.copy_(values.to(at::kFloat).mul(factors.decay).addcdiv_(exp_avg, divisor, -factors.rate));
  store(slot.exp_avg, exp_avg, true);
  store(slot.exp_avg_sq, exp_avg_sq, false);
}

std::unique_ptr<Optimizer> make_adamw_32bit(OptimizerParts parts) {
  return std::make_unique<BlockwiseAdamW>(std::move(parts), MomentFormat::kFloat32);
}

std::unique_ptr<Optimizer> make_adamw_8bit(OptimizerParts parts) {
  return std::make_unique<BlockwiseAdamW>(std::move(parts), MomentFormat::k8bit);
}

}  // namespace lora::optim
