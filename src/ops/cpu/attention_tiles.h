// The building blocks of attention on the CPU, for one thread: squares of kTile queries by kTile keys, and the rows of a head as the
// left or the right matrix of a product. S is float or BFloat16.
#pragma once
#include "ops/cpu/elements.h"

namespace lora::ops::cpu {

constexpr int64_t kTile = 64;

/// Some rows of a head in memory: row r begins at data + r · stride.
template <typename S>
struct HeadRows {
  const S* data;
  int64_t stride;
  int64_t count;  ///< up to kTile; the tile's other rows are 0
  int64_t dim;
};

/// [kTile, dim]: the left matrix of a product.
template <typename S>
void left_tile(const HeadRows<S>& rows, S* tile);
/// [dim, kTile], their transpose as a left matrix.
template <typename S>
void left_transposed_tile(const HeadRows<S>& rows, S* tile);
/// [kTile, dim] as the right matrix of a product. For BFloat16 two neighbouring rows are interleaved, as the processor's dot products
/// of pairs read them (VNNI).
template <typename S>
void right_tile(const HeadRows<S>& rows, S* tile);
/// [dim, kTile], their transpose as a right matrix.
template <typename S>
void right_transposed_tile(const HeadRows<S>& rows, S* tile);

/// What is kept of a query's softmax: probability = exp(scale · (score - largest)) · share.
struct SoftmaxRow {
  float largest;
  float share;
};

/// Softmax of kTile queries over `tiles` squares of scores [kTile queries, kTile keys]: weights = exp(scale · (score - largest)), not yet
/// multiplied by their share. Of the last square a query sees the first `visible` keys; the diagonal and those before it if that is
/// kOnDiagonal. The weights of others are 0. For the first `rows` queries the
/// statistics are stored at kept + r · stride. The scores are overwritten; weights may be scores.
template <typename S>
void softmax_tiles(float* scores, S* weights, SoftmaxRow* kept, int64_t stride, int64_t tiles, int64_t rows, int64_t visible, float scale);
constexpr int64_t kOnDiagonal = 0;

/// One square of backward, [kTile keys, kTile queries] (transposed, so that queries are the vector's lanes): scores become
/// probabilities, 0 for keys that the query does not see (`visible` as above), and each query's sum of probabilities · dweights is added to
/// delta [kTile].
void probabilities_of_square(float* scores, const float* dweights, const float* largest, const float* share, float scale, int64_t visible,
                             double* delta);

/// The inputs that one square provides for the products of backward.
template <typename S>
struct SquareGradients {
  S* weights;        ///< probabilities
  S* dscores;        ///< gradients of the scaled scores, as a left matrix
  S* dscores_right;  ///< the same as a right matrix; for float dscores itself
};

/// probabilities · (dweights - delta), with delta over all of a query's keys. For float, dscores may be dweights.
template <typename S>
void gradients_of_square(const float* probabilities, const float* dweights, const float* delta, const SquareGradients<S>& gradients);

/// to[r · stride + i] = factor · from[r, i], for the first rows of from [kTile, dim].
template <typename S>
void store_rows(const float* from, float factor, S* to, int64_t stride, int64_t rows, int64_t dim);
/// The same with each row's share as the factor; the shares are at kept [rows · kept_stride].
template <typename S>
void store_shares(const float* from, const SoftmaxRow* kept, int64_t kept_stride, S* to, int64_t stride, int64_t rows, int64_t dim);
/// to[r · stride + i] = factor · from[i, r], for the first rows of the transpose of from [dim, kTile].
template <typename S>
void store_transposed(const float* from, float factor, S* to, int64_t stride, int64_t rows, int64_t dim);

}  // namespace lora::ops::cpu
