#include "ops/cpu/attention_tiles.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "ops/cpu/pairs.h"

namespace lora::ops::cpu {

namespace {

/// to[i, r] = from[r · stride + i], zero in the columns r ≥ count of to [dim, kTile].
template <typename Item>
LORA_SIMD void transpose(const Item* from, int64_t stride, int64_t count, int64_t dim, Item* to) {
  for (int64_t i = 0; i < dim; ++i) {
#pragma omp simd
    for (int64_t r = 0; r < count; ++r) {
      to[i * kTile + r] = from[r * stride + i];
    }
    for (int64_t r = count; r < kTile; ++r) {
      to[i * kTile + r] = Item{};
    }
  }
}

}  // namespace

template <typename S>
void left_tile(const HeadRows<S>& rows, S* tile) {
  for (int64_t r = 0; r < rows.count; ++r) {
    std::memcpy(tile + r * rows.dim, rows.data + r * rows.stride, static_cast<size_t>(rows.dim) * sizeof(S));
  }
  std::fill(tile + rows.count * rows.dim, tile + kTile * rows.dim, S{});
}

template <typename S>
void left_transposed_tile(const HeadRows<S>& rows, S* tile) {
  transpose(rows.data, rows.stride, rows.count, rows.dim, tile);
}

template <>
void right_tile<float>(const HeadRows<float>& rows, float* tile) {
  left_tile(rows, tile);
}

template <>
LORA_SIMD void right_tile<BFloat16>(const HeadRows<BFloat16>& rows, BFloat16* tile) {
  for (int64_t r = 0; r < kTile; r += 2) {
    BFloat16* to = tile + r * rows.dim;
    if (r >= rows.count) {
      std::fill(to, to + 2 * rows.dim, BFloat16{});
      continue;
    }
    const BFloat16* first = rows.data + r * rows.stride;
    const bool whole = r + 1 < rows.count;
    const BFloat16* second = whole ? first + rows.stride : first;
    const Pair mask = whole ? 0xffffffffU : 0x0000ffffU;
#pragma omp simd
    for (int64_t i = 0; i < rows.dim; ++i) {
      const Pair pair = (first[i].bits | static_cast<Pair>(second[i].bits) << 16) & mask;
      std::memcpy(to + 2 * i, &pair, sizeof(pair));
    }
  }
}

template <>
void right_transposed_tile<float>(const HeadRows<float>& rows, float* tile) {
  transpose(rows.data, rows.stride, rows.count, rows.dim, tile);
}

template <>
LORA_SIMD void right_transposed_tile<BFloat16>(const HeadRows<BFloat16>& rows, BFloat16* tile) {
  // A pair of channels is moved as one number, in squares that are copied first: rows that are a power of two apart would compete for the
  // same lines of the cache.
  const int64_t pairs = rows.dim / 2;
  for (int64_t i = 0; i < pairs; i += kSide) {
    const int64_t width = std::min(kSide, pairs - i);
    for (int64_t r = 0; r < kTile; r += kSide) {
      Pair square[kSide * kSide];
      for (int64_t s = 0; s < kSide; ++s) {
        const BFloat16* const from = rows.data + (r + s) * rows.stride + 2 * i;
        const bool exists = r + s < rows.count;
        if (exists && width == kSide) {
          std::memcpy(square + s * kSide, from, kSide * sizeof(Pair));
          continue;
        }
        std::fill_n(square + s * kSide, kSide, Pair{0});
        if (exists) {
          std::memcpy(square + s * kSide, from, static_cast<size_t>(width) * sizeof(Pair));
        }
      }
      transpose_square(square);
      for (int64_t j = 0; j < width; ++j) {
        std::memcpy(tile + (i + j) * 2 * kTile + 2 * r, square + j * kSide, kSide * sizeof(Pair));
      }
    }
  }
}

namespace {

/// One query. Maximum and sum are kept per lane until the end: a reduction in every tile would take longer than the tile.
template <typename S>
LORA_SIMD void softmax_row(float* scores, S* weights, SoftmaxRow& kept, int64_t tiles, int64_t visible, float scale) {
  constexpr int64_t kSquare = kTile * kTile;
  float* last = scores + (tiles - 1) * kSquare;
  std::fill(last + visible, last + kTile, -std::numeric_limits<float>::infinity());
  float lanes[kTile];
  std::memcpy(lanes, last, sizeof(lanes));
  for (const float* tile = scores; tile != last; tile += kSquare) {
#pragma omp simd
    for (int64_t c = 0; c < kTile; ++c) {
      lanes[c] = larger(tile[c], lanes[c]);
    }
  }
  const float largest = *std::max_element(lanes, lanes + kTile);
  std::fill(lanes, lanes + kTile, 0.0F);
  for (int64_t t = 0; t < tiles; ++t) {
    const float* from = scores + t * kSquare;
    S* to = weights + t * kSquare;
#pragma omp simd
    for (int64_t c = 0; c < kTile; ++c) {
      const float e = exponential((from[c] - largest) * scale);
      lanes[c] += e;  // hidden keys add e^-87 to a sum of at least 1
      to[c] = narrowed<S>(e);
    }
  }
  std::fill(weights + (tiles - 1) * kSquare + visible, weights + (tiles - 1) * kSquare + kTile, S{});
  kept = {largest, static_cast<float>(1 / std::accumulate(lanes, lanes + kTile, 0.0))};
}

}  // namespace

template <typename S>
void softmax_tiles(float* scores, S* weights, SoftmaxRow* kept, int64_t stride, int64_t tiles, int64_t rows, int64_t visible, float scale) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t seen = visible == kOnDiagonal ? r + 1 : visible;
    softmax_row(scores + r * kTile, weights + r * kTile, kept[r * stride], tiles, seen, scale);
  }
  for (int64_t t = 0; t < tiles; ++t) {
    std::fill(weights + (t * kTile + rows) * kTile, weights + (t + 1) * kTile * kTile, S{});
  }
}

namespace {

/// One key's row.
LORA_SIMD void probabilities(float* scores, const float* dweights, const float* largest, const float* share, float scale, int64_t hidden,
                             double* delta) {
#pragma omp simd
  for (int64_t q = 0; q < kTile; ++q) {
    scores[q] = exponential((scores[q] - largest[q]) * scale) * share[q];
  }
  std::fill(scores, scores + hidden, 0.0F);
#pragma omp simd
  for (int64_t q = 0; q < kTile; ++q) {
    delta[q] += static_cast<double>(scores[q]) * dweights[q];
  }
}

LORA_SIMD void score_gradients(const float* probabilities, const float* dweights, const float* delta, float* dscores) {
#pragma omp simd
  for (int64_t q = 0; q < kTile; ++q) {
    dscores[q] = probabilities[q] * (dweights[q] - delta[q]);
  }
}

template <typename S>
LORA_SIMD void narrow_row(const float* from, S* to) {
#pragma omp simd
  for (int64_t q = 0; q < kTile; ++q) {
    to[q] = narrowed<S>(from[q]);
  }
}

/// Two rows interleaved.
LORA_SIMD void pair_rows(const float* first, const float* second, BFloat16* to) {
#pragma omp simd
  for (int64_t q = 0; q < kTile; ++q) {
    const Pair pair = narrowed<BFloat16>(first[q]).bits | static_cast<Pair>(narrowed<BFloat16>(second[q]).bits) << 16;
    std::memcpy(to + 2 * q, &pair, sizeof(pair));
  }
}

}  // namespace

void probabilities_of_square(float* scores, const float* dweights, const float* largest, const float* share, float scale, int64_t visible,
                             double* delta) {
  for (int64_t k = 0; k < kTile; ++k) {
    // Above the diagonal the query comes before the key.
    const int64_t hidden = visible == kOnDiagonal ? k : k < visible ? 0 : kTile;
    probabilities(scores + k * kTile, dweights + k * kTile, largest, share, scale, hidden, delta);
  }
}

template <>
void gradients_of_square<float>(const float* probabilities, const float* dweights, const float* delta,
                                const SquareGradients<float>& gradients) {
  std::copy(probabilities, probabilities + kTile * kTile, gradients.weights);
  for (int64_t k = 0; k < kTile; ++k) {
    score_gradients(probabilities + k * kTile, dweights + k * kTile, delta, gradients.dscores + k * kTile);
  }
}

template <>
void gradients_of_square<BFloat16>(const float* probabilities, const float* dweights, const float* delta,
                                   const SquareGradients<BFloat16>& gradients) {
  float pair[2][kTile];
  for (int64_t k = 0; k < kTile; ++k) {
    float* own = pair[k % 2];
    score_gradients(probabilities + k * kTile, dweights + k * kTile, delta, own);
    narrow_row(probabilities + k * kTile, gradients.weights + k * kTile);
    narrow_row(own, gradients.dscores + k * kTile);
    if (k % 2 == 1) {
      pair_rows(pair[0], pair[1], gradients.dscores_right + (k - 1) * kTile);
    }
  }
}

namespace {

template <typename S>
LORA_SIMD void store_row(const float* from, float factor, S* to, int64_t dim) {
#pragma omp simd
  for (int64_t i = 0; i < dim; ++i) {
    to[i] = narrowed<S>(from[i] * factor);
  }
}

}  // namespace

template <typename S>
void store_rows(const float* from, float factor, S* to, int64_t stride, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r) {
    store_row(from + r * dim, factor, to + r * stride, dim);
  }
}

template <typename S>
void store_shares(const float* from, const SoftmaxRow* kept, int64_t kept_stride, S* to, int64_t stride, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r) {
    store_row(from + r * dim, kept[r * kept_stride].share, to + r * stride, dim);
  }
}

template <typename S>
LORA_SIMD void store_transposed(const float* from, float factor, S* to, int64_t stride, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r) {
#pragma omp simd
    for (int64_t i = 0; i < dim; ++i) {
      to[r * stride + i] = narrowed<S>(from[i * kTile + r] * factor);
    }
  }
}

#define LORA_INSTANTIATE(S)                                                                               \
  template void left_tile<S>(const HeadRows<S>&, S*);                                                     \
  template void left_transposed_tile<S>(const HeadRows<S>&, S*);                                          \
  template void softmax_tiles<S>(float*, S*, SoftmaxRow*, int64_t, int64_t, int64_t, int64_t, float);     \
  template void store_rows<S>(const float*, float, S*, int64_t, int64_t, int64_t);                        \
  template void store_shares<S>(const float*, const SoftmaxRow*, int64_t, S*, int64_t, int64_t, int64_t); \
  template void store_transposed<S>(const float*, float, S*, int64_t, int64_t, int64_t);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(BFloat16)

}  // namespace lora::ops::cpu
