#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kColumns = 4 * kLanes;  // of y at a time: together with the same columns of B they fit into the L1 cache
constexpr int64_t kRows = 4;              // their sums stay in registers, so that a row of B is read once for them

/// As many float32 as fit into a register; if registers are narrower, several are used.
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

/// The sums of kRows rows of low · B in kColumns columns.
LORA_SIMD void sum_products(const float* low, const float* B, int64_t rank, int64_t n, float* sums) {
  Lanes sum[kRows][kColumns / kLanes] = {};
  for (int64_t k = 0; k < rank; ++k) {
    Lanes row[kColumns / kLanes];
    std::memcpy(row, B + k * n, sizeof(row));
    for (int64_t r = 0; r < kRows; ++r) {
      const float factor = low[r * rank + k];
      for (int64_t i = 0; i < kColumns / kLanes; ++i) {
        sum[r][i] += factor * row[i];
      }
    }
  }
  std::memcpy(sums, sum, sizeof(sum));
}

/// The remainder at the right and at the bottom.
LORA_SIMD void sum_products_of_row(const float* low, const float* B, int64_t rank, int64_t n, int64_t columns, float* sums) {
  std::fill(sums, sums + columns, 0.0F);
  for (int64_t k = 0; k < rank; ++k) {
    const float factor = low[k];
    const float* row = B + k * n;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      sums[i] += factor * row[i];
    }
  }
}

template <typename S>
LORA_SIMD void add_sums(S* y, const float* sums, int64_t columns) {
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    y[i] = narrowed<S>(widened(y[i]) + sums[i]);
  }
}

}  // namespace

template <typename S>
void add_low_rank(S* y, const float* low, const float* B, int64_t rows, int64_t rank, int64_t n) {
  float sums[kRows * kColumns];
  for (int64_t begin = 0; begin < n; begin += kColumns) {
    const int64_t columns = std::min(kColumns, n - begin);
    int64_t r = 0;
    for (; columns == kColumns && r + kRows <= rows; r += kRows) {
      sum_products(low + r * rank, B + begin, rank, n, sums);
      for (int64_t i = 0; i < kRows; ++i) {
        add_sums<S>(y + (r + i) * n + begin, sums + i * kColumns, kColumns);
      }
    }
    for (; r < rows; ++r) {
      sum_products_of_row(low + r * rank, B + begin, rank, n, columns, sums);
      add_sums<S>(y + r * n + begin, sums, columns);
    }
  }
}

namespace {

template <typename S>
LORA_SIMD void widen(const S* from, float* to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    to[i] = widened(from[i]);
  }
}

/// kRows rows of x [kRows, n] times M [n, 2 kLanes], which is padded to a whole number of registers.
LORA_SIMD void products_of_rows(const float* x, const float* M, int64_t n, int64_t stride, float* sums) {
  Lanes sum[kRows][2] = {};
  for (int64_t k = 0; k < n; ++k) {
    Lanes row[2];
    std::memcpy(row, M + k * stride, sizeof(row));
    for (int64_t r = 0; r < kRows; ++r) {
      sum[r][0] += x[r * n + k] * row[0];
      sum[r][1] += x[r * n + k] * row[1];
    }
  }
  std::memcpy(sums, sum, sizeof(sum));
}

constexpr int64_t kRanks = 8;
constexpr int64_t kOuterColumns = 2 * kLanes;
constexpr int64_t kOuterRows = 128;  // of x, widened, so that they fit into the L1 cache

/// out [kRanks, kOuterColumns] += low [rows, kRanks]ᵀ x [rows, kOuterColumns].
LORA_SIMD void add_outer(const float* low, int64_t low_stride, const float* x, int64_t rows, float* out) {
  Lanes sum[kRanks][2];
  std::memcpy(sum, out, sizeof(sum));
  for (int64_t t = 0; t < rows; ++t) {
    Lanes row[2];
    std::memcpy(row, x + t * kOuterColumns, sizeof(row));
    for (int64_t r = 0; r < kRanks; ++r) {
      sum[r][0] += low[t * low_stride + r] * row[0];
      sum[r][1] += low[t * low_stride + r] * row[1];
    }
  }
  std::memcpy(out, sum, sizeof(sum));
}

}  // namespace

int64_t padded_rank(int64_t rank) {
  return (rank + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes);
}

template <typename S>
void low_rank_product(const S* x, const float* M, float* low, int64_t rows, int64_t n, int64_t rank) {
  const int64_t padded = padded_rank(rank);
  std::vector<float> wide(static_cast<size_t>(kRows * n));
  float sums[kRows * 2 * kLanes];
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t count = std::min(kRows, rows - r);
    widen(x + r * n, wide.data(), count * n);
    for (int64_t begin = 0; begin < padded; begin += 2 * kLanes) {
      products_of_rows(wide.data(), M + begin, n, padded, sums);
      const int64_t ranks = std::min(2 * kLanes, rank - begin);
      for (int64_t i = 0; i < count; ++i) {
        std::copy_n(sums + i * 2 * kLanes, ranks, low + (r + i) * rank + begin);
      }
    }
  }
}

template <typename S>
void low_rank_outer(const float* low, const S* x, float* out, int64_t rows, int64_t rank, int64_t n, int64_t first, int64_t last) {
  const int64_t groups = (rank + kRanks - 1) / kRanks, padded = groups * kRanks;
  std::vector<float> wide(kOuterRows * kOuterColumns), factors(static_cast<size_t>(kOuterRows * padded));
  std::vector<float> sums(static_cast<size_t>(padded * kOuterColumns));
  for (int64_t begin = first; begin < last; begin += kOuterColumns) {
    const int64_t columns = std::min(kOuterColumns, last - begin);
    std::fill(sums.begin(), sums.end(), 0.0F);
    for (int64_t t = 0; t < rows; t += kOuterRows) {
      const int64_t count = std::min(kOuterRows, rows - t);
      for (int64_t i = 0; i < count; ++i) {
        widen(x + (t + i) * n + begin, wide.data() + i * kOuterColumns, columns);
        std::copy_n(low + (t + i) * rank, rank, factors.data() + i * padded);
      }
      for (int64_t g = 0; g < groups; ++g) {
        add_outer(factors.data() + g * kRanks, padded, wide.data(), count, sums.data() + g * kRanks * kOuterColumns);
      }
    }
    for (int64_t r = 0; r < rank; ++r) {
      std::copy_n(sums.data() + r * kOuterColumns, columns, out + r * n + begin);
    }
  }
}

#define LORA_INSTANTIATE(S)                                                                     \
  template void add_low_rank<S>(S*, const float*, const float*, int64_t, int64_t, int64_t);     \
  template void low_rank_product<S>(const S*, const float*, float*, int64_t, int64_t, int64_t); \
  template void low_rank_outer<S>(const float*, const S*, float*, int64_t, int64_t, int64_t, int64_t, int64_t);
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
