#include <algorithm>
#include <limits>

#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

namespace {

constexpr int64_t kPart = 4096;

/// Writes the gradient of one row and returns its loss.
template <typename S>
LORA_SIMD Wide<S> row(S* logits, int64_t label, int64_t V, Wide<S> scale) {
  using W = Wide<S>;
  W largest = -std::numeric_limits<W>::infinity();
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < V; ++i) {
    largest = larger(widened(logits[i]), largest);
  }
  const W at_label = widened(logits[label]);
  // Half a million terms: partial sums in the elements' precision, their sum in float64.
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kPart) {
    const int64_t end = std::min(V, begin + kPart);
    W part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t i = begin; i < end; ++i) {
      part += exponential(widened(logits[i]) - largest);
    }
    total += part;
  }
  const W sum = static_cast<W>(total);
  const W share = scale / sum;
#pragma omp simd
  for (int64_t i = 0; i < V; ++i) {
    logits[i] = narrowed<S>(exponential(widened(logits[i]) - largest) * share);
  }
  logits[label] = narrowed<S>((exponential(at_label - largest) / sum - 1) * scale);
  return std::log(sum) + largest - at_label;
}

}  // namespace

template <typename S>
void cross_entropy(S* logits, const int64_t* labels, Wide<S>* loss, int64_t rows, int64_t V, double scale) {
  for (int64_t r = 0; r < rows; ++r) {
    if (labels[r] < 0) {  // no target
      std::fill_n(logits + r * V, V, S{});
      loss[r] = 0;
    } else {
      loss[r] = row(logits + r * V, labels[r], V, static_cast<Wide<S>>(scale));
    }
  }
}

#define LORA_INSTANTIATE(S) template void cross_entropy<S>(S*, const int64_t*, Wide<S>*, int64_t, int64_t, double);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
