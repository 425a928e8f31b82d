#include "lora/nn/matrix_host.h"

#include <ATen/ATen.h>

#include "nn/attached.h"

namespace lora::nn {

void MatrixHost::use_adapter(const std::string& adapter) {
  Host::use_adapter(adapter);
  enable_only(attachments_, adapter);
  enable_only(rows_, adapter);
}

void MatrixHost::remove_adapters() {
  Host::remove_adapters();
  attachments_.clear();
  rows_.clear();
}

bool MatrixHost::is_plain() const {
  return !any_enabled(attachments_) && !any_enabled(rows_);
}

std::vector<Tensor> MatrixHost::trained() const {
  std::vector<Tensor> all;
  for (const BaseWeight& weight : weights()) {
    all.push_back(weight.in_use());
  }
  for (const LowRank& attached : attachments_) {
    if (attached.enabled) {
      all.insert(all.end(), {attached.A_RI, attached.B_OR, attached.bias_O.value_or(Tensor()), attached.magnitude_O.value_or(Tensor())});
    }
  }
  for (const TokenRows& rows : rows_) {
    if (rows.enabled) {
      all.push_back(rows.rows_ND);
    }
  }
  std::erase_if(all, [](const Tensor& tensor) { return !tensor.defined() || !tensor.requires_grad(); });
  return all;
}

}  // namespace lora::nn
