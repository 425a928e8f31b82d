#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optim/kinds.h"
#include "optim/norm.h"

namespace lora::optim {
namespace {

using at::Tensor;

// Options that transformers' Trainer leaves at Adafactor's defaults; it sets scale_parameter and relative_step to false.
constexpr double kEpsilon = 1e-30;
constexpr double kClipThreshold = 1.0;
constexpr double kDecayRate = -0.8;

/// The second moment: stored fully for a vector; for a matrix (or a stack of them) as its means over columns and over rows.
struct Slot {
  Tensor exp_avg_sq;      ///< undefined if there are rows and columns
  Tensor exp_avg_sq_row;  ///< [..., rows]
  Tensor exp_avg_sq_col;  ///< [..., columns]
  Tensor step;            ///< float32 scalar in CPU memory
};

/// Half types are computed in float32, and so is their moment.
at::ScalarType compute_type(const Tensor& parameter) {
  return at::promote_types(parameter.scalar_type(), at::kFloat);
}

Slot make_slot(const Tensor& tensor) {
  const at::TensorOptions options = tensor.options().dtype(compute_type(tensor)).requires_grad(false);
  Slot slot{{}, {}, {}, at::zeros({}, at::kFloat)};
  if (tensor.dim() < 2) {
    slot.exp_avg_sq = at::zeros(tensor.sizes(), options);
    return slot;
  }
  std::vector<int64_t> rows = tensor.sizes().vec();
  std::vector<int64_t> columns = rows;
  rows.pop_back();
  columns.erase(columns.end() - 2);
  slot.exp_avg_sq_row = at::zeros(rows, options);
  slot.exp_avg_sq_col = at::zeros(columns, options);
  return slot;
}

/// Updates the moment and returns the gradient divided by its root: algorithm 4, steps 4 to 8.
Tensor normalised(const Slot& slot, const Tensor& gradient, double beta2) {
  const Tensor squares = gradient.square().add_(kEpsilon);
  if (slot.exp_avg_sq.defined()) {
    slot.exp_avg_sq.mul_(beta2).add_(squares, 1.0 - beta2);
    return slot.exp_avg_sq.rsqrt().mul_(gradient);
  }
  slot.exp_avg_sq_row.mul_(beta2).add_(squares.mean(-1), 1.0 - beta2);
  slot.exp_avg_sq_col.mul_(beta2).add_(squares.mean(-2), 1.0 - beta2);
  const Tensor row = (slot.exp_avg_sq_row / slot.exp_avg_sq_row.mean(-1, /*keepdim=*/true)).rsqrt_();
  return (row.unsqueeze(-1) * slot.exp_avg_sq_col.rsqrt().unsqueeze(-2)).mul_(gradient);
}

/// Shazeer & Stern 2018, algorithm 4, with the schedule's learning rate, no first moment, and decoupled weight decay.
class Adafactor : public GroupedOptimizer {
 public:
  explicit Adafactor(OptimizerParts parts) : GroupedOptimizer(std::move(parts)) {
    for (const ParameterGroup& group : groups_) {
      slots_.emplace_back();
      for (const nn::Parameter& parameter : group.parameters) {
        slots_.back().push_back(make_slot(parameter.tensor));
      }
    }
  }

  void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) override {
    for (size_t i = 0; i < updates.indices.size(); ++i) {
      const Tensor& raw = updates.gradients[i];
      const Tensor gradient = gradient_scale == 1.0 ? raw : raw * gradient_scale;
      update_one(updates.parameters[i], slots_[index][updates.indices[i]], gradient, rate, groups_[index].weight_decay);
    }
  }

  std::vector<io::NamedTensor> own_state() const override {
    std::vector<io::NamedTensor> tensors;
    for (size_t i = 0; i < groups_.size(); ++i) {
      for (size_t j = 0; j < slots_[i].size(); ++j) {
        const std::string& name = groups_[i].parameters[j].name;
        const Slot& slot = slots_[i][j];
        if (slot.exp_avg_sq.defined()) {
          tensors.push_back({name + ".exp_avg_sq", slot.exp_avg_sq});
        } else {
          tensors.push_back({name + ".exp_avg_sq_row", slot.exp_avg_sq_row});
          tensors.push_back({name + ".exp_avg_sq_col", slot.exp_avg_sq_col});
        }
        tensors.push_back({name + ".step", slot.step});
      }
    }
    return tensors;
  }

 private:
  static void update_one(const Tensor& parameter, const Slot& slot, const Tensor& gradient, double rate, double weight_decay) {
    const double step = *slot.step.mutable_data_ptr<float>() += 1.0F;
    const Tensor update = normalised(slot, gradient.to(compute_type(parameter)), 1.0 - std::pow(step, kDecayRate));
    const double root_mean_square = norm_of({update}) / std::sqrt(static_cast<double>(update.numel()));
    update.div_(std::max(root_mean_square / kClipThreshold, 1.0)).mul_(rate);
    const Tensor result = parameter.to(update.scalar_type());  // the parameter itself, unless it has a half type
    result.add_(result, -weight_decay * rate).sub_(update);
    if (!result.is_same(parameter)) {
      parameter.copy_(result);
    }
  }

  std::vector<std::vector<Slot>> slots_;  ///< by group and parameter
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(OptimizerParts parts) {
  return std::make_unique<Adafactor>(std::move(parts));
}

}  // namespace lora::optim
