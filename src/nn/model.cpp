#include "lora/nn/model.h"

#include <ATen/ATen.h>

#include <stdexcept>

namespace lora::nn {

Linear& Model::head() {
  Linear* const head = find_head();
  if (head == nullptr) {
    throw std::logic_error("the model has no head over the vocabulary");
  }
  return *head;
}

Tensor Model::logits(const Tensor& hidden_TD, const Pass& pass) {
  if (gives_logits()) {
    return hidden_TD;
  }
  const Tensor logits_TV = head().forward(hidden_TD, pass);
  const std::optional<double> cap = logit_soft_cap();
  return cap ? (logits_TV / *cap).tanh() * *cap : logits_TV;
}

}  // namespace lora::nn
