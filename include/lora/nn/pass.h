#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lora/nn/token_batch.h"

namespace lora::nn {

/// One forward pass: the batch and what the modules must know of it. Made once a pass, read by every module.
struct Pass {
  const TokenBatch& batch;
  /// int64 [T]: the key of each token's random numbers, a function of (seed, step, sample, position). Undefined when
  /// nothing is random (evaluation): dropout is off.
  Tensor row_keys_T;

  bool training() const { return row_keys_T.defined(); }
};

/// A pass without dropout.
Pass evaluation_pass(const TokenBatch& batch);

/// A pass whose dropout is drawn by (seed, step, sample, position): no split into micro-batches changes it.
Pass training_pass(const TokenBatch& batch, uint64_t seed, int64_t step);

}  // namespace lora::nn
