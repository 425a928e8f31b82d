// The CPU's arithmetic of the ops, over contiguous rows, one thread. S is what lies in memory: float, double, BFloat16 or
// Half; sums and functions are in Wide<S>, and every intermediate that transformers keeps in memory is rounded to S.
#pragma once
#include "elements.h"
#include "lora/ops/activation_kinds.h"

namespace lora::ops::cpu {

/// y = rounded(x · rstd) · weight with rstd = 1 / sqrt(mean(x²) + eps), row by row; rstd [rows] is kept for backward.
template <typename S>
void rms_norm(const S* x, const S* weight, S* y, Wide<S>* rstd, int64_t rows, int64_t dim, double eps);

/// dx of rms_norm.
template <typename S>
void rms_norm_backward(const S* dy, const S* x, const S* weight, const Wide<S>* rstd, S* dx, int64_t rows, int64_t dim);

/// Turns the first `rotated` channels of each head: x [rows, heads, dim], cos and sin [rows, rotated]. y = x · cos +
/// rotate_half(x) · sin; backward is the transpose of it.
template <typename S>
void rotate(const S* x, const S* cos, const S* sin, S* y, int64_t rows, int64_t heads, int64_t dim, int64_t rotated, bool backward);

/// y = rounded(act(gate)) · up.
template <typename S>
void gated_activation(Activation kind, const S* gate, const S* up, S* y, int64_t n);

/// dgate and dup of gated_activation; they may be dy.
template <typename S>
void gated_activation_backward(Activation kind, const S* dy, const S* gate, const S* up, S* dgate, S* dup, int64_t n);

/// Cross-entropy of rows of logits [rows, V] with one label each: the loss of each row, and in place of the logits their
/// gradient, (softmax - one_hot) · scale.
template <typename S>
void cross_entropy(S* logits, const int64_t* labels, Wide<S>* loss, int64_t rows, int64_t V, double scale);

/// y [rows, n] += low [rows, rank] · B, with B [rank, n]: a sum of few terms beside a large product. In float32, rounded
/// once.
template <typename S>
void add_low_rank(S* y, const float* low, const float* B, int64_t rows, int64_t rank, int64_t n);

/// Softmax over the first `first + r + 1` of each row r of scores [rows, width], 0 in the places behind them; lse: the logarithm of the sum
/// of exponentials [rows].
void causal_softmax(float* scores, float* lse, int64_t lse_stride, int64_t rows, int64_t width, int64_t first);

/// scores → probabilities by their kept lse, and d scores = probabilities · (dp - delta) · scale in place of dp; causal as
/// causal_softmax. delta [rows]: the sum of dout · out of each row.
void causal_softmax_backward(float* scores, float* dp, const float* lse, int64_t lse_stride, const float* delta, int64_t rows,
                             int64_t width, int64_t first, float scale);

}  // namespace lora::ops::cpu
