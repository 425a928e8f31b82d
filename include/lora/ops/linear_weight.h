#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

namespace lora::ops {

using at::Tensor;

/// How a matrix is stored in its file: [out, in], or [in, out] as for transformers' Conv1D (GPT-2) and for tables of embeddings.
enum class WeightLayout { kOutIn, kInOut };

/// The matrix W [O, I] that a projection multiplies by, whatever form its numbers have in memory. The set of kinds is open: a kind
/// provides products and dequantised values, and everything above asks for nothing else. Products have no graph; project() and
/// dora_linear() differentiate them. T tokens, I inputs, O outputs.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;

  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  /// The dtype of inputs and outputs.
  virtual at::ScalarType dtype() const = 0;
  virtual at::Device device() const = 0;
  /// Bytes that it occupies in memory.
  virtual int64_t bytes() const = 0;

  /// x_TI Wᵀ + b, [T, O].
  virtual Tensor multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const = 0;
  /// dy_TO W, [T, I]: a new tensor, or added in place to `sum_TI`, which is then the result.
  virtual Tensor multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI = std::nullopt) const = 0;
  /// The norms of the rows of W, [O], in `dtype`.
  virtual Tensor row_norms(at::ScalarType dtype) const = 0;
  /// Rows [begin, end) of dequantised().
  virtual Tensor rows(int64_t begin, int64_t end) const = 0;
  /// W [O, I] in dtype(): a view of a dense weight's own memory, and new memory for any other kind.
  virtual Tensor dequantised() const = 0;

  /// A dense weight's tensor in the layout of its file; undefined for any other kind.
  virtual Tensor tensor() const { return {}; }
  /// The layout of tensor().
  virtual WeightLayout layout() const { return WeightLayout::kOutIn; }
  /// Whether W itself is trained, which only a dense weight can be.
  virtual bool requires_grad() const { return false; }
};

/// A weight that is one tensor of floating-point numbers. Of a convolution's kernels [out, in, height, width], all but the first
/// dimension are inputs.
class DenseWeight : public LinearWeight {
 public:
  /// @param tensor in the given layout. It is shared, not copied.
  explicit DenseWeight(Tensor tensor, WeightLayout layout = WeightLayout::kOutIn) : tensor_(std::move(tensor)), layout_(layout) {}

  int64_t in_features() const override {
    return layout_ == WeightLayout::kOutIn ? tensor_.numel() / tensor_.size(0) : tensor_.size(0);
  }
  int64_t out_features() const override { return tensor_.size(layout_ == WeightLayout::kOutIn ? 0 : 1); }
  at::ScalarType dtype() const override { return tensor_.scalar_type(); }
  at::Device device() const override { return tensor_.device(); }
  int64_t bytes() const override { return static_cast<int64_t>(tensor_.nbytes()); }
  Tensor multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const override;
  Tensor multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI = std::nullopt) const override;
  Tensor row_norms(at::ScalarType dtype) const override;
  Tensor rows(int64_t begin, int64_t end) const override;
  Tensor dequantised() const override;
  Tensor tensor() const override { return tensor_; }
  WeightLayout layout() const override { return layout_; }
  bool requires_grad() const override { return dequantised().requires_grad(); }

 private:
  Tensor tensor_;
  WeightLayout layout_;
};

/// The norms of the rows of W + scale · B A, [O] in A's dtype, without forming the sum:
/// |w|² + 2 scale · w·(bA) + scale² · |bA|². Rows whose terms mostly cancel are computed from the sum.
/// @param base_norm_O weight.row_norms() in A's dtype.
Tensor adapted_row_norms(const LinearWeight& weight, const Tensor& base_norm_O, const Tensor& A_RI, const Tensor& B_OR, double scale);

/// W + scale · B A, [O, I] in A's dtype. Differentiable in A and B, and in W if it is trained.
Tensor adapted_weight(const LinearWeight& weight, const Tensor& A_RI, const Tensor& B_OR, double scale);

}  // namespace lora::ops
