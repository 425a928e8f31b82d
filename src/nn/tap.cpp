#include "lora/nn/tap.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

void Tap::attach(const std::string& adapter, std::unique_ptr<TapModule> module) {
  attached_.push_back({adapter, std::move(module)});
  in_use_ = attached_.back().module.get();
}

bool Tap::is_trained() const {
  if (in_use_ == nullptr) {
    return false;
  }
  const std::vector<Parameter> parameters = in_use_->parameters();
  return std::any_of(parameters.begin(), parameters.end(), [](const Parameter& parameter) { return parameter.tensor.requires_grad(); });
}

void Tap::use_adapter(const std::string& adapter) {
  const auto found =
      std::find_if(attached_.begin(), attached_.end(), [&adapter](const Attached& attached) { return attached.adapter == adapter; });
  in_use_ = found == attached_.end() ? nullptr : found->module.get();
}

void Tap::remove_adapters() {
  in_use_ = nullptr;
  attached_.clear();
}

}  // namespace lora::nn
