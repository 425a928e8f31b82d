#include "lora/ops/residual_weight.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "ops/low_rank_products.h"

namespace lora::ops {

ResidualWeight::ResidualWeight(std::shared_ptr<const LinearWeight> whole, Tensor A_RI, Tensor B_OR, double scale)
    : whole_(std::move(whole)), A_RI_(std::move(A_RI)), B_OR_(std::move(B_OR)), scale_(scale) {}

int64_t ResidualWeight::bytes() const {
  return whole_->bytes() + static_cast<int64_t>(A_RI_.nbytes() + B_OR_.nbytes());
}

Tensor ResidualWeight::multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const {
  const at::NoGradGuard no_grad;
  const Tensor y_TO = whole_->multiply(x_TI, bias_O);
  add_product_(y_TO, low_product(x_TI, A_RI_.t()), B_OR_.t(), -scale_);
  return y_TO;
}

Tensor ResidualWeight::multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI) const {
  const at::NoGradGuard no_grad;
  const Tensor dx_TI = whole_->multiply_transposed(dy_TO, sum_TI);
  add_product_(dx_TI, low_product(dy_TO, B_OR_), A_RI_, -scale_);
  return dx_TI;
}

Tensor ResidualWeight::row_norms(at::ScalarType dtype) const {
  return adapted_row_norms(*whole_, whole_->row_norms(A_RI_.scalar_type()), A_RI_, B_OR_, -scale_).to(dtype);
}

Tensor ResidualWeight::rows(int64_t begin, int64_t end) const {
  const Tensor product = B_OR_.slice(0, begin, end).mm(A_RI_) * scale_;
  return (whole_->rows(begin, end).to(A_RI_.scalar_type()) - product).to(dtype());
}

Tensor ResidualWeight::dequantised() const {
  return adapted_weight(*whole_, A_RI_, B_OR_, -scale_).to(dtype());
}

}  // namespace lora::ops
