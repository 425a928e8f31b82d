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

// A convolution as a product: its input as a matrix with a row for each pixel of the result, which holds what the kernel sees there.

/// Images with the channels last, and the kernel that moves over them. A kernel has at most 64 places.
struct PatchGrid {
  int64_t height, width, channels;
  int64_t out_height, out_width;
  int64_t kernel_height, kernel_width, stride, padding;
};

/// Rows begin … end - 1 of the matrix, [channels · kernel places] each in the order of kernels [O, I, h, w]; zeros outside of the image.
/// @param patches where row `begin` goes.
template <typename S>
void take_patches(const S* x, S* patches, const PatchGrid& grid, int64_t begin, int64_t end);

/// Its transpose: pixels begin … end - 1 of x are the sums of what all rows hold of them.
template <typename S>
void add_patches(const S* patches, S* x, const PatchGrid& grid, int64_t begin, int64_t end);

// Group norm, over rows of pixels whose channels lie next to each other; sums are of channels, and the caller adds up groups.

/// sum += Σ (x - shift) and square += Σ (x - shift)² over the rows, for each channel; shift [channels] is near the channels' means.
template <typename S>
void channel_sums(const S* x, const S* shift, Wide<S>* sum, Wide<S>* square, int64_t rows, int64_t channels);

/// y = x · factor + addend, or silu of it.
template <typename S>
void scaled_channels(const S* x, const Wide<S>* factor, const Wide<S>* addend, S* y, int64_t rows, int64_t channels, bool silu);

/// What each channel of an image is normed with.
template <typename S>
struct NormedChannels {
  const Wide<S>*mean, *rstd, *weight, *bias;
};

/// du_sum += Σ du and dux_sum += Σ du · xhat, with xhat the normed x and du the gradient before silu.
template <typename S>
void channel_gradient_sums(const S* dy, const S* x, const NormedChannels<S>& normed, Wide<S>* du_sum, Wide<S>* dux_sum, int64_t rows,
                           int64_t channels, bool silu);

/// dx = (du · weight - du_mean - xhat · dux_mean) · rstd; the means are those of du · weight and du · weight · xhat over the group.
template <typename S>
void group_norm_gradient(const S* dy, const S* x, const NormedChannels<S>& normed, const Wide<S>* du_mean, const Wide<S>* dux_mean, S* dx,
                         int64_t rows, int64_t channels, bool silu);

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
