#include "peft/residuals.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/log.h"
#include "lora/nn/weight_changes.h"
#include "lora/ops/residual_weight.h"

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

void Residuals::take_out(nn::Linear& host, const LowRankStart& start, double scale, const std::string& adapter) {
  const at::NoGradGuard no_grad;
  Start own{host.name(), {}, {start.A_RI.detach().clone(), start.B_OR.detach().clone()}, scale};
  nn::BaseWeight& weight = host.weights().front();
  if (weight.is_quantised()) {
    weight.replace(adapter, std::make_shared<const ops::ResidualWeight>(weight.matrix(), own.start.A_RI, own.start.B_OR, scale));
  } else {
    own.weight_OI = host.weight();
    own.weight_OI.copy_(own.weight_OI.to(at::kFloat) - product(start, scale));
    nn::base_weights_changed();
  }
  starts_.push_back(std::move(own));
}

const Residuals::Start* Residuals::find(const AdapterUpdate& update) const {
  const auto* const pair = std::get_if<LowRankUpdate>(&update);
  const auto is_its = [pair](const Start& start) { return pair != nullptr && !pair->is_embedding() && start.module == pair->module; };
  const auto found = std::find_if(starts_.begin(), starts_.end(), is_its);
  return found == starts_.end() ? nullptr : &*found;
}

std::vector<AdapterUpdate> Residuals::portable(std::vector<AdapterUpdate> trained) const {
  for (AdapterUpdate& update : trained) {
    if (const Start* own = find(update)) {
      auto& pair = std::get<LowRankUpdate>(update);
      pair.A_RI = at::cat({pair.A_RI.detach(), own->start.A_RI}, 0);
      pair.B_OR = at::cat({pair.B_OR.detach(), -own->start.B_OR}, 1);
    }
  }
  return trained;
}

void Residuals::load(const std::string& where, const StoredTensors& values, const std::vector<AdapterUpdate>& trained) {
  const at::NoGradGuard no_grad;
  const std::vector<AdapterUpdate> stored = portable(trained);
  load_into(where, values, named_tensors(tensors_of(stored)));
  bool is_this_runs = true;
  for (size_t i = 0; i < trained.size(); ++i) {
    const Start* const found = find(trained[i]);
    if (found == nullptr) {
      continue;
    }
    const auto& target = std::get<LowRankUpdate>(trained[i]);
    const auto& files = std::get<LowRankUpdate>(stored[i]);
    target.A_RI.detach().copy_(files.A_RI.slice(0, 0, target.rank()));
    target.B_OR.detach().copy_(files.B_OR.slice(1, 0, target.rank()));
    is_this_runs = match(starts_[static_cast<size_t>(found - starts_.data())], second_half(files.A_RI, files.B_OR)) && is_this_runs;
  }
  if (!is_this_runs) {
    log::warn("[" + where +
              "] was initialized with other values of A and B than were computed here (another machine or library?): changing the base "
              "weights to match the file, up to rounding");
  }
}

bool Residuals::match(Start& own, const LowRankStart& files) {
  if (same_bits(own.start, files)) {
    return true;
  }
  if (own.weight_OI.defined()) {
    own.weight_OI.copy_(own.weight_OI.to(at::kFloat) + (product(own.start, own.scale) - product(files, own.scale)));
  }
  own.start.A_RI.copy_(files.A_RI);
  own.start.B_OR.copy_(files.B_OR);
  return false;
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
