#pragma once
#include <memory>
#include <optional>

#include "lora/io/packed_matrix.h"
#include "lora/ops/linear_weight.h"

namespace lora::ops {

/// A frozen weight whose numbers are packed. Products decode it tile by tile, in forward and again in backward (QLoRA: Dettmers et al.
/// 2023, section 3), so that there is never a matrix of plain numbers of its size.
class PackedWeight : public LinearWeight {
 public:
  /// @param dtype of inputs and outputs, in which products are computed.
  PackedWeight(std::shared_ptr<const io::PackedMatrix> matrix, at::ScalarType dtype);

  const io::PackedMatrix& matrix() const { return *matrix_; }
  /// Bytes that a product needs besides its operands and its result: the largest decoded tile.
  int64_t tile_bytes() const;
  int64_t in_features() const override { return matrix_->in_features(); }
  int64_t out_features() const override { return matrix_->out_features(); }
  at::ScalarType dtype() const override { return dtype_; }
  at::Device device() const override { return matrix_->device(); }
  int64_t bytes() const override { return matrix_->bytes(); }
  Tensor multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const override;
  Tensor multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI = std::nullopt) const override;
  Tensor row_norms(at::ScalarType dtype) const override;
  Tensor rows(int64_t begin, int64_t end) const override;
  Tensor dequantised() const override;

 private:
  std::shared_ptr<const io::PackedMatrix> matrix_;
  std::shared_ptr<const io::PackedMatrix> forward_;  ///< what multiply() multiplies by: `matrix_`, or the same codes rounded otherwise
  at::ScalarType dtype_;
};

}  // namespace lora::ops
