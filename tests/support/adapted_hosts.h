#pragma once
#include <vector>

#include "lora/nn/model.h"
#include "support/tensors.h"

namespace lora::test {

/// The Linear modules with a low-rank pair, in the model's order.
inline std::vector<nn::Linear*> adapted_hosts(nn::Model& model) {
  std::vector<nn::Linear*> adapted;
  for (nn::Host* host : model.hosts()) {
    auto* linear = dynamic_cast<nn::Linear*>(host);
    if (linear != nullptr && !linear->attached<nn::LowRank>().empty()) {
      adapted.push_back(linear);
    }
  }
  return adapted;
}

/// W + scale · B A of the first attachment, in float64.
inline Tensor effective_weight(const nn::Linear& host) {
  const nn::LowRank& attached = *host.attached<nn::LowRank>().at(0);
  const at::NoGradGuard no_grad;
  return host.weight().to(at::kDouble) + attached.scale * attached.B_OR.to(at::kDouble).matmul(attached.A_RI.to(at::kDouble));
}

/// The weights as they are now, under their names.
inline std::vector<nn::Parameter> copies(const std::vector<nn::Parameter>& parameters) {
  std::vector<nn::Parameter> result;
  for (const nn::Parameter& parameter : parameters) {
    result.push_back({parameter.name, parameter.tensor.detach().clone()});
  }
  return result;
}

}  // namespace lora::test
