#include <algorithm>

#include "kernels.h"

namespace lora::ops::cpu {

namespace {

constexpr int64_t kColumns = 64;  // of y at a time: with the same columns of B they stay in the first cache

/// One piece of a row; `sum` is a buffer of kColumns.
template <typename S>
LORA_SIMD void piece(S* y, const float* low, const float* B, int64_t rank, int64_t n, int64_t columns, float* sum) {
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    sum[i] = 0;
  }
  for (int64_t k = 0; k < rank; ++k) {
    const float factor = low[k];
    const float* row = B + k * n;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      sum[i] += factor * row[i];
    }
  }
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    y[i] = narrowed<S>(widened(y[i]) + sum[i]);
  }
}

}  // namespace

template <typename S>
void add_low_rank(S* y, const float* low, const float* B, int64_t rows, int64_t rank, int64_t n) {
  float sum[kColumns];
  for (int64_t begin = 0; begin < n; begin += kColumns) {
    const int64_t columns = std::min(kColumns, n - begin);
    for (int64_t r = 0; r < rows; ++r) {
      piece<S>(y + r * n + begin, low + r * rank, B + begin, rank, n, columns, sum);
    }
  }
}

template void add_low_rank<BFloat16>(BFloat16*, const float*, const float*, int64_t, int64_t, int64_t);
template void add_low_rank<Half>(Half*, const float*, const float*, int64_t, int64_t, int64_t);

}  // namespace lora::ops::cpu
