#include "lora/ops/linear_weight.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <vector>

#include "ops/gemm.h"

namespace lora::ops {

namespace {

/// Elements of W that are widened at a time: 16 MiB in float32.
constexpr int64_t kNormChunkElements = int64_t{1} << 22;

/// W Aᵀ in A's dtype; W may be in a narrower one.
Tensor widened_product(const LinearWeight& weight, const Tensor& A_RI) {
  if (weight.dtype() == A_RI.scalar_type() && weight.tensor().defined()) {
    return weight.dequantised().mm(A_RI.t());
  }
  const int64_t outputs = weight.out_features(), rows = std::max<int64_t>(1, kNormChunkElements / weight.in_features());
  std::vector<Tensor> parts;
  for (int64_t begin = 0; begin < outputs; begin += rows) {
    parts.push_back(weight.rows(begin, std::min(begin + rows, outputs)).to(A_RI.scalar_type()).mm(A_RI.t()));
  }
  return at::cat(parts);
}

/// Rows of W; other kinds than a dense weight compute only these.
Tensor selected_rows(const LinearWeight& weight, const Tensor& rows_N) {
  if (weight.tensor().defined()) {
    return weight.dequantised().index_select(0, rows_N);
  }
  std::vector<Tensor> parts;
  for (int64_t n = 0; n < rows_N.size(0); ++n) {
    const auto row = rows_N[n].item<int64_t>();
    parts.push_back(weight.rows(row, row + 1));
  }
  return at::cat(parts);
}

}  // namespace

Tensor DenseWeight::dequantised() const {
  if (layout_ == WeightLayout::kInOut) {
    return tensor_.t();
  }
  return tensor_.dim() == 2 ? tensor_ : tensor_.flatten(1);
}

Tensor DenseWeight::multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const {
  const Tensor W_IO = dequantised().t();
  if (!bias_O) {
    return gemm(x_TI, W_IO);
  }
  if (!onednn_applies(x_TI, W_IO.size(1))) {
    return at::addmm(*bias_O, x_TI, W_IO);
  }
  const Tensor y_TO = bias_O->expand({x_TI.size(0), -1}).contiguous();
  gemm_(y_TO, x_TI, W_IO);
  return y_TO;
}

Tensor DenseWeight::multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI) const {
  if (!sum_TI) {
    return gemm(dy_TO, dequantised());
  }
  gemm_(*sum_TI, dy_TO, dequantised());
  return *sum_TI;
}

Tensor DenseWeight::row_norms(at::ScalarType dtype) const {
  return at::linalg_vector_norm(dequantised(), 2, {1}, /*keepdim=*/false, dtype);
}

Tensor DenseWeight::rows(int64_t begin, int64_t end) const {
  return dequantised().slice(0, begin, end);
}

Tensor adapted_row_norms(const LinearWeight& weight, const Tensor& base_norm_O, const Tensor& A_RI, const Tensor& B_OR, double scale) {
  const at::NoGradGuard no_grad;
  const Tensor base_O = base_norm_O.to(at::kDouble).square();
  const Tensor cross_O = (widened_product(weight, A_RI) * B_OR).sum(1, /*keepdim=*/false, at::kDouble);
  const Tensor low_O = (B_OR.mm(A_RI.mm(A_RI.t())) * B_OR).sum(1, /*keepdim=*/false, at::kDouble);
  const Tensor terms_O = base_O + low_O * (scale * scale);
  const Tensor square_O = terms_O + cross_O * (2 * scale);
  Tensor norm_O = square_O.clamp_min(0).sqrt().to(A_RI.scalar_type());
  // Where the terms cancel, so do their significant digits.
  const Tensor cancelled_N = square_O.lt(0.1 * terms_O).nonzero().squeeze(1);
  if (cancelled_N.size(0) > 0) {
    const Tensor W_NI = selected_rows(weight, cancelled_N).to(A_RI.scalar_type());
    const DenseWeight sum(at::addmm(W_NI, B_OR.index_select(0, cancelled_N), A_RI, 1, scale));
    norm_O.index_copy_(0, cancelled_N, sum.row_norms(A_RI.scalar_type()));
  }
  return norm_O;
}

Tensor adapted_weight(const LinearWeight& weight, const Tensor& A_RI, const Tensor& B_OR, double scale) {
  return weight.dequantised().to(A_RI.scalar_type()) + B_OR.mm(A_RI) * scale;
}

}  // namespace lora::ops
