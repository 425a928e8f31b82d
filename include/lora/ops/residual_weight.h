#pragma once
#include <memory>
#include <optional>

#include "lora/ops/linear_weight.h"

namespace lora::ops {

/// Another weight less a fixed low-rank product, W - scale · B A: the residual matrix of PiSSA (Meng et al. 2024, section 3) where W is
/// packed and cannot change. The product is never formed for products with activations.
class ResidualWeight : public LinearWeight {
 public:
  /// @param A_RI and B_OR in float32; shared, not copied.
  ResidualWeight(std::shared_ptr<const LinearWeight> whole, Tensor A_RI, Tensor B_OR, double scale);

  int64_t in_features() const override { return whole_->in_features(); }
  int64_t out_features() const override { return whole_->out_features(); }
  at::ScalarType dtype() const override { return whole_->dtype(); }
  at::Device device() const override { return whole_->device(); }
  int64_t bytes() const override;
  Tensor multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const override;
  Tensor multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI = std::nullopt) const override;
  Tensor row_norms(at::ScalarType dtype) const override;
  Tensor rows(int64_t begin, int64_t end) const override;
  Tensor dequantised() const override;

 private:
  std::shared_ptr<const LinearWeight> whole_;
  Tensor A_RI_, B_OR_;
  double scale_;
};

}  // namespace lora::ops
