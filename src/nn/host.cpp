#include "lora/nn/host.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

bool Host::is_trained() const {
  return std::any_of(weights_.begin(), weights_.end(), [](const BaseWeight& weight) { return weight.in_use().requires_grad(); });
}

std::vector<Parameter> Host::base_parameters() const {
  std::vector<Parameter> parameters;
  for (const BaseWeight& weight : weights_) {
    if (weight.owned()) {
      parameters.push_back(weight.parameter());
    }
  }
  return parameters;
}

void Host::use_adapter(const std::string& adapter) {
  for (BaseWeight& weight : weights_) {
    weight.use_adapter(adapter);
  }
}

void Host::remove_adapters() {
  for (BaseWeight& weight : weights_) {
    weight.remove_adapters();
  }
}

BaseWeight& Host::add_weight(const std::string& part, Tensor tensor, bool weight_decay, bool owned) {
  return weights_.emplace_back(Parameter{name_ + "." + part, std::move(tensor), weight_decay}, owned);
}

}  // namespace lora::nn
