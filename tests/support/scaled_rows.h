#pragma once
#include <ATen/ATen.h>

#include <optional>

#include "lora/ops/linear_weight.h"
#include "support/tensors.h"

namespace lora::test {

/// A kind of weight that is not dense: whole numbers and one scale per row, for products in float64.
class ScaledRows : public ops::LinearWeight {
 public:
  ScaledRows(int64_t outputs, int64_t inputs)
      : codes_OI_((4 * normal({outputs, inputs}, 4)).round().to(at::kChar)), scales_O_(normal({outputs}, 3).abs() + 0.1) {}

  int64_t in_features() const override { return codes_OI_.size(1); }
  int64_t out_features() const override { return codes_OI_.size(0); }
  at::ScalarType dtype() const override { return at::kDouble; }
  at::Device device() const override { return at::kCPU; }
  int64_t bytes() const override { return static_cast<int64_t>(codes_OI_.nbytes() + scales_O_.nbytes()); }
  Tensor multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const override {
    const Tensor y_TO = x_TI.mm(codes_OI_.to(at::kDouble).t()) * scales_O_;
    return bias_O ? y_TO + *bias_O : y_TO;
  }
  Tensor multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI) const override {
    const Tensor dx_TI = (dy_TO * scales_O_).mm(codes_OI_.to(at::kDouble));
    return sum_TI ? sum_TI->add_(dx_TI) : dx_TI;
  }
  Tensor row_norms(at::ScalarType dtype) const override { return (codes_OI_.to(dtype).norm(2, {1}) * scales_O_).to(dtype); }
  Tensor rows(int64_t begin, int64_t end) const override { return dequantised().slice(0, begin, end); }
  Tensor dequantised() const override { return codes_OI_ * scales_O_.unsqueeze(1); }

 private:
  Tensor codes_OI_;
  Tensor scales_O_;
};

}  // namespace lora::test
