#include "peft/residuals.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/base/log.h"
#include "lora/peft/adapter_folder.h"

namespace lora::peft {

namespace {

Tensor product(const LowRankStart& start, double scale) {
  return (start.B_OR * scale).matmul(start.A_RI);
}

/// The second half of the result of portable().
LowRankStart second_half(const Tensor& A_RI, const Tensor& B_OR) {
  const int64_t rank = A_RI.size(0) / 2;
  return {A_RI.slice(0, rank).clone(), -B_OR.slice(1, rank)};
}

bool same_bits(const LowRankStart& one, const LowRankStart& other) {
  return at::equal(one.A_RI, other.A_RI) && at::equal(one.B_OR, other.B_OR);
}

}  // namespace

void Residuals::take_out(const nn::Linear& host, const LowRankStart& start, double scale) {
  const at::NoGradGuard no_grad;
  Tensor weight_OI = host.weight();
  weight_OI.copy_(weight_OI.to(at::kFloat) - product(start, scale));
  starts_.push_back({host.name(), weight_OI, {start.A_RI.detach().clone(), start.B_OR.detach().clone()}, scale});
}

const Residuals::Start* Residuals::find(const std::string& key, ParameterRole role) const {
  for (const Start& start : starts_) {
    if (adapter_tensor_name(key) == tensor_name(start.module, role)) {
      return &start;
    }
  }
  return nullptr;
}

std::vector<io::NamedTensor> Residuals::portable(const std::vector<io::NamedTensor>& trained) const {
  std::vector<io::NamedTensor> tensors = trained;
  for (io::NamedTensor& named : tensors) {
    if (const Start* of_a = find(named.name, ParameterRole::kLowRankA)) {
      named.tensor = at::cat({named.tensor, of_a->start.A_RI}, 0);
    } else if (const Start* of_b = find(named.name, ParameterRole::kLowRankB)) {
      named.tensor = at::cat({named.tensor, -of_b->start.B_OR}, 1);
    }
  }
  return tensors;
}

void Residuals::load(const std::string& where, const StoredTensors& values, const std::vector<io::NamedTensor>& trained) {
  const at::NoGradGuard no_grad;
  const std::vector<io::NamedTensor> stored = portable(trained);
  load_into(where, values, stored);
  for (size_t i = 0; i < trained.size(); ++i) {
    if (find(trained[i].name, ParameterRole::kLowRankA) != nullptr || find(trained[i].name, ParameterRole::kLowRankB) != nullptr) {
      const Tensor target = trained[i].tensor;
      target.copy_(stored[i].tensor.slice(0, 0, target.size(0)).slice(1, 0, target.size(1)));
    }
  }
  bool is_this_runs = true;
  for (Start& own : starts_) {
    const auto at_key = [&](ParameterRole role) {
      const auto is_it = [&](const io::NamedTensor& named) { return named.name == tensor_name(own.module, role); };
      return std::find_if(stored.begin(), stored.end(), is_it)->tensor;
    };
    const LowRankStart files = second_half(at_key(ParameterRole::kLowRankA), at_key(ParameterRole::kLowRankB));
    if (!same_bits(own.start, files)) {
      own.weight_OI.copy_(own.weight_OI.to(at::kFloat) + (product(own.start, own.scale) - product(files, own.scale)));
      own.start = files;
      is_this_runs = false;
    }
  }
  if (!is_this_runs) {
    log::warn("[" + where +
              "] was initialized with other values of A and B than were computed here (another machine or library?): changing the base "
              "weights to match the file, up to rounding");
  }
}

LoraOptions Residuals::portable(LoraOptions options) const {
  if (starts_.empty()) {
    return options;
  }
  options.init = LoraInit::kDefault;
  options.r *= 2;
  options.lora_alpha *= options.use_rslora ? std::sqrt(2.0) : 2.0;
  for (auto& [key, rank] : options.rank_pattern) {
    rank *= 2;
  }
  for (auto& [key, alpha] : options.alpha_pattern) {
    alpha *= 2;
  }
  return options;
}

}  // namespace lora::peft
