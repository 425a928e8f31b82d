#include "peft/low_rank_svd.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <vector>

namespace lora::peft {

namespace {

using at::Tensor;

constexpr int64_t kExactSize = 1024;  // an exact decomposition of this size takes about a second
constexpr int64_t kSvdIterations = 8;

Tensor orthonormal(const Tensor& columns) {
  return std::get<0>(at::linalg_qr(columns));
}

/// T_B T_Aᵀ: its singular values are those of B A, because T_Bᵀ T_B = Bᵀ B and T_Aᵀ T_A = A Aᵀ, the Gram matrices.
Tensor product_of_triangles(const Tensor& B, const Tensor& A) {
  const Tensor triangle_B = std::get<1>(at::linalg_qr(B.to(at::kDouble), "r"));
  const Tensor triangle_A = std::get<1>(at::linalg_qr(A.t().to(at::kDouble), "r"));
  return triangle_B.matmul(triangle_A.t());
}

/// `tensor` with zeros at the end of `dimension`, up to `size`.
Tensor filled_up(const Tensor& tensor, int64_t dimension, int64_t size) {
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape.at(static_cast<size_t>(dimension)) = size - tensor.size(dimension);
  return at::cat({tensor, at::zeros(shape, tensor.options())}, dimension);
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> low_rank_svd(const Tensor& matrix, int64_t size, int64_t iterations, at::Generator generator) {
  const bool is_wide = matrix.size(0) < matrix.size(1);
  const Tensor tall = is_wide ? matrix.t() : matrix;
  const Tensor sketch = at::randn({tall.size(1), size}, std::move(generator), tall.options().device(at::kCPU));
  Tensor basis = orthonormal(tall.matmul(sketch.to(tall.device())));
  for (int64_t i = 0; i < iterations; ++i) {
    basis = orthonormal(tall.matmul(orthonormal(tall.t().matmul(basis))));
  }
  const auto [inner, S, Vh] = at::linalg_svd(basis.t().matmul(tall), /*full_matrices=*/false);
  const Tensor U = basis.matmul(inner);
  return is_wide ? std::tuple(Vh.t(), S, U.t()) : std::tuple(U, S, Vh);
}

std::tuple<Tensor, Tensor, Tensor> leading_svd(const Tensor& matrix, int64_t rank, uint64_t key) {
  const int64_t smaller = std::min(matrix.size(0), matrix.size(1));
  const int64_t size = 2 * rank + 16;  // a sketch wider than the result gives nearly the best result
  const bool is_exact = smaller <= std::max(kExactSize, 2 * size);
  const auto [U, S, Vh] = is_exact ? at::linalg_svd(matrix, /*full_matrices=*/false)
                                   : low_rank_svd(matrix, size, kSvdIterations, at::detail::createCPUGenerator(key));
  const int64_t kept = std::min(rank, smaller);
  return {U.narrow(1, 0, kept), S.narrow(0, 0, kept), Vh.narrow(0, 0, kept)};
}

std::tuple<Tensor, Tensor, Tensor> product_svd(const Tensor& B, const Tensor& A) {
  const auto [basis_B, triangle_B] = at::linalg_qr(B.to(at::kDouble));
  const auto [basis_A, triangle_A] = at::linalg_qr(A.t().to(at::kDouble));
  const auto [U, S, Vh] = at::linalg_svd(triangle_B.matmul(triangle_A.t()), /*full_matrices=*/false);
  return {basis_B.matmul(U), S, Vh.matmul(basis_A.t())};
}

Tensor product_singular_values(const Tensor& B, const Tensor& A) {
  return at::linalg_svdvals(product_of_triangles(B, A));
}

double product_norm(const Tensor& B, const Tensor& A) {
  return frobenius_norm(product_of_triangles(B, A));
}

double frobenius_norm(const Tensor& tensor) {
  return at::linalg_vector_norm(tensor, 2, at::OptionalIntArrayRef(), /*keepdim=*/false, at::kDouble).item<double>();
}

Factors factors_of_rank(const std::tuple<Tensor, Tensor, Tensor>& svd, int64_t rank) {
  const auto& [U, S, Vh] = svd;
  const int64_t kept = std::min(rank, S.size(0));
  const Tensor root = S.narrow(0, 0, kept).clamp_min(0).sqrt();
  const Tensor B = (U.narrow(1, 0, kept) * root).to(at::kFloat);
  const Tensor A = (root.unsqueeze(1) * Vh.narrow(0, 0, kept)).to(at::kFloat);
  return {filled_up(B, 1, rank), filled_up(A, 0, rank)};
}

}  // namespace lora::peft
