#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <tuple>

namespace lora::peft {

/// The largest singular values of a matrix [m, n] by a randomised range finder with subspace iterations (Halko,
/// Martinsson, Tropp 2011, algorithms 4.4 and 5.1), equal to torch.svd_lowrank with the same random numbers, which are
/// generated on the CPU in the matrix's dtype. Returns U [m, k], S [k] and Vh [k, n] with k = min(size, m, n).
std::tuple<at::Tensor, at::Tensor, at::Tensor> low_rank_svd(const at::Tensor& matrix, int64_t size, int64_t iterations,
                                                            at::Generator generator);

/// The `rank` largest singular values of a matrix [m, n]: exact for a small matrix, by low_rank_svd with oversampling for one with more
/// than 1024 rows and columns. A pure function of the matrix and `key`. Returns U [m, k], S [k] and
/// Vh [k, n] with k = min(rank, m, n), in the matrix's dtype.
std::tuple<at::Tensor, at::Tensor, at::Tensor> leading_svd(const at::Tensor& matrix, int64_t rank, uint64_t key);

/// The singular value decomposition of B A (B [m, r], A [r, n]), which is not formed: with B = Q_B T_B and Aᵀ = Q_A T_A
/// it reduces to that of T_B T_Aᵀ, at most [r, r]. In float64. Returns U [m, k], S [k], Vh [k, n]; k = min(r, m, n).
std::tuple<at::Tensor, at::Tensor, at::Tensor> product_svd(const at::Tensor& B, const at::Tensor& A);

/// Only the singular values of B A, float64 [min(r, m, n)].
at::Tensor product_singular_values(const at::Tensor& B, const at::Tensor& A);

/// The Frobenius norm of B A.
double product_norm(const at::Tensor& B, const at::Tensor& A);

/// The factors of a product B A, as in LoRA: float32, B [m, rank], A [rank, n].
struct Factors {
  at::Tensor B;
  at::Tensor A;
};

/// The best approximation of U diag(S) Vh by factors of exactly this rank, with the square roots of the singular values in both
/// factors. If there are fewer than `rank`, the rest is zero.
Factors factors_of_rank(const std::tuple<at::Tensor, at::Tensor, at::Tensor>& svd, int64_t rank);

/// The Frobenius norm of any tensor, summed in float64.
double frobenius_norm(const at::Tensor& tensor);

}  // namespace lora::peft
