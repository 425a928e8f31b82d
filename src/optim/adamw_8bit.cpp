#include "optim/adamw_8bit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optim/kinds.h"
#include "optim/pieces.h"
#include "optim/quantization.h"

namespace lora::optim {
namespace {

using at::Tensor;

constexpr int64_t kSmallestQuantized = 4096;  // elements; bitsandbytes' min_8bit_size

/// All elements in memory order.
Tensor in_memory_order(const Tensor& dense) {
  return dense.as_strided({dense.numel()}, {1});
}

/// Dettmers et al. 2021: AdamW with moments in block-wise quantised 8 bits, as bitsandbytes' AdamW8bit.
class AdamW8bit : public Optimizer {
 public:
  AdamW8bit(const OptimizerOptions& options, std::vector<ParameterGroup> groups) : options_(options), groups_(std::move(groups)) {
    for (const ParameterGroup& group : groups_) {
      slots_.emplace_back();
      for (const nn::Parameter& parameter : group.parameters) {
        slots_.back().push_back(make_slot_8bit(parameter.tensor));
      }
    }
  }

  void update(double learning_rate, double gradient_scale) override {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < groups_.size(); ++i) {
      const Updates updates = updates_of(groups_[i]);
      std::vector<const Slot8bit*> slots;
      std::vector<AdamWFactors> factors;
      for (const size_t index : updates.indices) {
        slots.push_back(&slots_[i][index]);
        const float count = *slots.back()->step.mutable_data_ptr<float>() += 1.0F;
        factors.push_back(adamw_factors(options_, learning_rate * groups_[i].rate_factor, groups_[i].weight_decay, count, gradient_scale));
      }
      if (updates.on_cpu()) {
        update_pieces(updates, [&]<typename Scalar>(const TensorSlice& piece, Scalar* parameter, const Scalar* gradient) {
          update_piece(*slots[piece.tensor], factors[piece.tensor], piece, parameter, gradient);
        });
        continue;
      }
      for (size_t j = 0; j < slots.size(); ++j) {
        adamw_8bit_by_operators(updates.parameters[j], *slots[j], updates.gradients[j], factors[j]);
      }
    }
  }

  std::vector<io::NamedTensor> state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < slots_[i].size(); ++j) {
        const std::string& name = groups_[i].parameters[j].name;
        const Slot8bit& slot = slots_[i][j];
        tensors.push_back({name + ".exp_avg", slot.exp_avg});
        tensors.push_back({name + ".exp_avg_sq", slot.exp_avg_sq});
        tensors.push_back({name + ".step", slot.step});
        if (slot.quantized()) {
          tensors.push_back({name + ".exp_avg_absmax", slot.exp_avg_absmax});
          tensors.push_back({name + ".exp_avg_sq_absmax", slot.exp_avg_sq_absmax});
        }
      }
    }
    return tensors;
  }

 private:
  template <typename Scalar>
  static void update_piece(const Slot8bit& slot, const AdamWFactors& factors, const TensorSlice& piece, Scalar* parameter,
                           const Scalar* gradient) {
    if (!slot.quantized()) {
      adamw_update(factors, piece.count, parameter, gradient, slot.exp_avg.mutable_data_ptr<float>() + piece.begin,
                   slot.exp_avg_sq.mutable_data_ptr<float>() + piece.begin);
      return;
    }
    const auto moment = [&](const Tensor& codes, const Tensor& absmax, bool is_signed) {
      return QuantizedMoment{codes.mutable_data_ptr<uint8_t>() + piece.begin,
                             absmax.mutable_data_ptr<float>() + piece.begin / kQuantizationBlock, &dynamic_map(is_signed)};
    };
    adamw_8bit_update(factors, piece.count, parameter, gradient, moment(slot.exp_avg, slot.exp_avg_absmax, true),
                      moment(slot.exp_avg_sq, slot.exp_avg_sq_absmax, false));
  }

  OptimizerOptions options_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::vector<Slot8bit>> slots_;  ///< by group and parameter
};

}  // namespace

Slot8bit make_slot_8bit(const Tensor& parameter) {
  const bool quantized = parameter.numel() >= kSmallestQuantized;
  const auto moment = [&] { return at::zeros_like(parameter, quantized ? at::kByte : at::kFloat); };
  const auto absmax = [&] {
    const int64_t blocks = (parameter.numel() + kQuantizationBlock - 1) / kQuantizationBlock;
    return quantized ? at::zeros({blocks}, parameter.options().dtype(at::kFloat).requires_grad(false)) : Tensor();
  };
  return {moment(), absmax(), moment(), absmax(), at::zeros({}, at::kFloat)};
}

void adamw_8bit_by_operators(const Tensor& parameter, const Slot8bit& slot, const Tensor& gradient, const AdamWFactors& factors) {
  const Tensor codes = in_memory_order(slot.exp_avg);
  const Tensor codes_sq = in_memory_order(slot.exp_avg_sq);
  const Tensor exp_avg = slot.quantized() ? dequantize_blockwise(codes, slot.exp_avg_absmax, dynamic_map(true)) : codes;
  const Tensor exp_avg_sq = slot.quantized() ? dequantize_blockwise(codes_sq, slot.exp_avg_sq_absmax, dynamic_map(false)) : codes_sq;
  const Tensor scaled = (in_memory_order(gradient) * factors.gradient_scale).to(at::kFloat);
  exp_avg.lerp_(scaled, 1.0 - factors.beta1);
  exp_avg_sq.mul_(factors.beta2).addcmul_(scaled, scaled, 1.0 - factors.beta2);
  const Tensor divisor = (exp_avg_sq.sqrt() / factors.correction2).add_(factors.epsilon);
  const Tensor values = in_memory_order(parameter);
  values.copy_(values.to(at::kFloat).mul(factors.decay).addcdiv_(exp_avg, divisor, -factors.rate));
  if (slot.quantized()) {
    quantize_blockwise(exp_avg, dynamic_map(true), codes, slot.exp_avg_absmax);
    quantize_blockwise(exp_avg_sq, dynamic_map(false), codes_sq, slot.exp_avg_sq_absmax);
  }
}

std::unique_ptr<Optimizer> make_adamw_8bit(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<AdamW8bit>(options, std::move(groups));
}

}  // namespace lora::optim
