#include "optim/wide_weights.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "optim/stochastic_rounding.h"

namespace lora::optim {

namespace {

using at::Tensor;

const char* const kKey = "training.weight_update";

/// Of a GPU's operators that compute the random bits, for each element.
constexpr int64_t kBytesOfRounding = 32;

bool is_half(const Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf;
}

void require_rounding_of(const nn::Parameter& parameter, WeightUpdate update) {
  if (update == WeightUpdate::kStochasticRounding && parameter.tensor.scalar_type() != at::kBFloat16) {
    config_error(kKey, "found stochastic_rounding with float16 weights such as " + parameter.name +
                           ", expected bfloat16 ones. Use master_weights, or set model.dtype to bfloat16.");
  }
}

}  // namespace

WideWeights::WideWeights(const OptimizerOptions& options, std::vector<ParameterGroup>& groups, StateMemory& memory) : options_(options) {
  const at::NoGradGuard no_grad;
  bool found = false;
  for (ParameterGroup& group : groups) {
    weights_.emplace_back();
    for (nn::Parameter& parameter : group.parameters) {
      if (!is_half(parameter.tensor)) {
        continue;
      }
      require_rounding_of(parameter, options.weight_update);
      const Tensor weight = parameter.tensor;
      parameter.tensor = is_kept() ? memory.zeros_like(weight, at::kFloat).copy_(weight.detach())
                                   : at::empty_like(weight, weight.options().dtype(at::kFloat).requires_grad(false));
      weights_.back().push_back({parameter.name, weight, parameter.tensor});
      found = true;
    }
  }
  if (!found) {
    config_error(kKey, "found " + std::string(kWeightUpdates.name(options.weight_update)) +
                           ", but every trained weight is float32, which needs no copy. Leave it out: it is for \"adapter\": null with "
                           "model.dtype bfloat16 or float16.");
  }
  if (!is_kept()) {
    step_ = at::zeros({}, at::kLong);
  }
}

void WideWeights::begin_step() {
  if (step_.defined()) {
    step_.add_(1);
  }
}

void WideWeights::load(size_t group) {
  for (const WideWeight& wide : weights_[group]) {
    const Tensor& gradient = wide.weight.grad();
    if (gradient.defined()) {
      if (!is_kept()) {
        wide.copy.set_data(wide.weight.detach().to(at::kFloat));
      }
      wide.copy.mutable_grad() = gradient.to(at::kFloat);
    }
  }
}

void WideWeights::store(size_t group) {
  for (const WideWeight& wide : weights_[group]) {
    if (!wide.copy.grad().defined()) {
      continue;
    }
    const Tensor weight = wide.weight.detach();
    if (is_kept()) {
      weight.copy_(wide.copy);
    } else {
      const uint64_t key = mix64(options_.rounding_seed, static_cast<uint64_t>(step_.item<int64_t>()));
      round_stochastically(wide.copy, weight, mix64(key, hash_name(wide.name)));
      wide.copy.set_data(at::empty({0}, wide.copy.options()));
    }
    wide.copy.mutable_grad() = Tensor();
  }
}

void WideWeights::add_state(std::vector<io::NamedTensor>& tensors) const {
  if (step_.defined()) {
    tensors.push_back({"stochastic_rounding.step", step_});
    return;
  }
  for (const std::vector<WideWeight>& group : weights_) {
    for (const WideWeight& wide : group) {
      tensors.push_back({wide.name + ".master_weight", wide.copy});
    }
  }
}

int64_t wide_update_bytes(const OptimizerOptions& options, const std::vector<ParameterGroup>& groups) {
  int64_t most = 0;
  for (const ParameterGroup& group : groups) {
    int64_t bytes = 0;
    for (const nn::Parameter& parameter : group.parameters) {
      const bool is_rounded = options.weight_update == WeightUpdate::kStochasticRounding;
      const int64_t each = !is_rounded ? 4 : parameter.tensor.is_cpu() ? 8 : 8 + kBytesOfRounding;
      bytes += is_half(parameter.tensor) ? each * parameter.tensor.numel() : 0;
    }
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace lora::optim
