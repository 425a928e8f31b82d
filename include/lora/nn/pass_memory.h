#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace lora::nn {

/// What is kept per token from the forward pass to backward, for the memory estimate.
struct Kept {
  int64_t elements = 0;  ///< in the model's dtype
  int64_t floats = 0;    ///< always in float32: statistics of a row, products with A

  int64_t bytes(at::ScalarType dtype) const { return elements * static_cast<int64_t>(c10::elementSize(dtype)) + floats * 4; }
  Kept& operator+=(const Kept& other) {
    elements += other.elements;
    floats += other.floats;
    return *this;
  }
  friend Kept operator+(Kept a, const Kept& b) { return a += b; }
  friend Kept operator*(int64_t times, const Kept& kept) { return {times * kept.elements, times * kept.floats}; }
};

/// Bytes of a pass through a model, with the adapters in use: per token, unless it says otherwise.
struct PassMemory {
  int64_t kept = 0;                  ///< from forward to backward
  int64_t tail = 0;                  ///< in addition, for a token whose hidden state is needed (Body::hidden_of)
  int64_t working = 0;               ///< in addition, while backward runs through the most expensive layer
  int64_t tail_working = 0;          ///< the same in the last layer's feed-forward block, for a token whose state is needed
  int64_t forward = 0;               ///< in total, for a pass without gradients
  int64_t kept_per_document = 0;     ///< in addition to the tokens': for the keys that an adapter puts before each document's
  int64_t forward_per_document = 0;  ///< the same in a pass without gradients
};

}  // namespace lora::nn
