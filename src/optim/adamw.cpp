#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optim/groups.h"
#include "optim/kinds.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// Moments in the parameter's dtype, as torch keeps them; `step` counts the updates of this parameter alone.
struct Slot {
  nn::Parameter parameter;
  Tensor exp_avg;
  Tensor exp_avg_sq;
  Tensor step;  ///< float32 scalar on the parameter's device: the kernel reads it there
};

struct Group {
  double weight_decay;
  double rate_factor;
  std::vector<Slot> slots;
};

/// The lists one kernel call takes: the parameters of a group that have a gradient.
struct KernelLists {
  std::vector<Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, steps;
};

KernelLists lists_of(const Group& group) {
  KernelLists lists;
  for (const Slot& slot : group.slots) {
    if (!slot.parameter.tensor.grad().defined()) {
      continue;
    }
    lists.parameters.push_back(slot.parameter.tensor);
    lists.gradients.push_back(gradient_in_order_of(slot.parameter.tensor));
    lists.exp_avgs.push_back(slot.exp_avg);
    lists.exp_avg_sqs.push_back(slot.exp_avg_sq);
    lists.steps.push_back(slot.step);
  }
  return lists;
}

/// The tensor of the file that replaces `current`, checked.
Tensor stored_state(const io::SafetensorsFile& file, const io::NamedTensor& current) {
  if (!file.contains(current.name)) {
    model_error(current.name, "the optimizer state lacks this tensor. The checkpoint belongs to a run with other trained parameters.");
  }
  const Tensor stored = file.tensor(current.name);
  if (stored.sizes() != current.tensor.sizes() || stored.scalar_type() != current.tensor.scalar_type()) {
    model_error(current.name, c10::str("the optimizer state does not fit: found ", c10::toString(stored.scalar_type()), " ", stored.sizes(),
                                       ", expected ", c10::toString(current.tensor.scalar_type()), " ", current.tensor.sizes(),
                                       ". The checkpoint belongs to a run with other shapes or another dtype."));
  }
  return stored;
}

class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerOptions& options, const std::vector<ParameterGroup>& groups) : options_(options) {
    const at::NoGradGuard no_grad;
    for (const ParameterGroup& group : groups) {
      groups_.push_back({group.weight_decay, group.rate_factor, {}});
      for (const nn::Parameter& parameter : group.parameters) {
        const Tensor& tensor = parameter.tensor;
        groups_.back().slots.push_back(
            {parameter, at::zeros_like(tensor), at::zeros_like(tensor), at::zeros({}, tensor.options().dtype(at::kFloat))});
      }
    }
  }

  void step(double learning_rate) override {
    const at::NoGradGuard no_grad;
    for (const Group& group : groups_) {
      const KernelLists lists = lists_of(group);
      if (lists.parameters.empty()) {
        continue;
      }
      at::_foreach_add_(lists.steps, 1);
      at::_fused_adamw_(lists.parameters, lists.gradients, lists.exp_avgs, lists.exp_avg_sqs, /*max_exp_avg_sqs=*/{}, lists.steps,
                        learning_rate * group.rate_factor, options_.beta1, options_.beta2, group.weight_decay, options_.epsilon,
                        /*amsgrad=*/false,
                        /*maximize=*/false);
    }
  }

  std::vector<io::NamedTensor> state() const override {
    std::vector<io::NamedTensor> tensors;
    for (const Group& group : groups_) {
      for (const Slot& slot : group.slots) {
        tensors.push_back({slot.parameter.name + ".exp_avg", slot.exp_avg});
        tensors.push_back({slot.parameter.name + ".exp_avg_sq", slot.exp_avg_sq});
        tensors.push_back({slot.parameter.name + ".step", slot.step});
      }
    }
    return tensors;
  }

  void load_state(const io::SafetensorsFile& file) override {
    const at::NoGradGuard no_grad;
    const std::vector<io::NamedTensor> current = state();
    std::vector<Tensor> stored;  // all are checked before the first is changed
    for (const io::NamedTensor& entry : current) {
      stored.push_back(stored_state(file, entry));
    }
    for (size_t i = 0; i < current.size(); ++i) {
      Tensor target = current[i].tensor;
      target.copy_(stored[i]);
    }
  }

 private:
  OptimizerOptions options_;
  std::vector<Group> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<AdamW>(options, groups);
}

}  // namespace lora::optim
