// The CPU arithmetic of the ops, over contiguous rows, for one thread. S is the stored type: float, double, BFloat16 or Half; sums and
// functions are in Wide<S>, and every intermediate that transformers stores is rounded to S.
#pragma once
#include "lora/ops/activation_kinds.h"
#include "ops/cpu/elements.h"

namespace lora::ops::cpu {

/// y = rounded(x · rstd) · weight with rstd = 1 / sqrt(mean(x²) + eps), row by row; rstd [rows] is kept for backward.
template <typename S>
void rms_norm(const S* x, const S* weight, S* y, Wide<S>* rstd, int64_t rows, int64_t dim, double eps);

/// dx of rms_norm.
template <typename S>
void rms_norm_backward(const S* dy, const S* x, const S* weight, const Wide<S>* rstd, S* dx, int64_t rows, int64_t dim);

/// Rotates the first `rotated` channels of each head: x [rows, heads, dim], cos and sin [rows, rotated]. y = x · cos +
/// rotate_half(x) · sin; backward is its transpose.
template <typename S>
void rotate(const S* x, const S* cos, const S* sin, S* y, int64_t rows, int64_t heads, int64_t dim, int64_t rotated, bool backward);

/// y = rounded(act(gate)) · up.
template <typename S>
void gated_activation(Activation kind, const S* gate, const S* up, S* y, int64_t n);

/// dgate and dup of gated_activation; they may be dy.
template <typename S>
void gated_activation_backward(Activation kind, const S* dy, const S* gate, const S* up, S* dgate, S* dup, int64_t n);

/// Cross-entropy of rows of logits [rows, V] with one label each: returns the loss of each row and replaces the logits by their
/// gradient, (softmax - one_hot) · scale. A row with a label below 0 has no target: both are 0.
template <typename S>
void cross_entropy(S* logits, const int64_t* labels, Wide<S>* loss, int64_t rows, int64_t V, double scale);

// Low-rank matrices in float32 with activations in a half type, without a copy of the activations in float32.

/// y [rows, n] += low [rows, rank] · B, with B [rank, n]: a sum of few terms added to the large product. In float32, rounded once.
template <typename S>
void add_low_rank(S* y, const float* low, const float* B, int64_t rows, int64_t rank, int64_t n);

/// The number of columns that M must have for low_rank_product.
int64_t padded_rank(int64_t rank);

/// low [rows, rank] = x [rows, n] · M, with M [n, padded_rank(rank)], whose columns after `rank` are 0.
template <typename S>
void low_rank_product(const S* x, const float* M, float* low, int64_t rows, int64_t n, int64_t rank);

/// Columns first to last of out [rank, n] = lowᵀ x, with low [rows, rank] and x [rows, n].
template <typename S>
void low_rank_outer(const float* low, const S* x, float* out, int64_t rows, int64_t rank, int64_t n, int64_t first, int64_t last);

}  // namespace lora::ops::cpu
