#pragma once
#include <cstdint>
#include <vector>

#include "lora/nn/pass.h"

namespace lora::torchscript {

/// Documents of a batch that are of one length, as a batch of their own.
struct DocumentGroup {
  std::vector<int64_t> documents;  ///< their numbers in the whole
  at::Tensor tokens;               ///< theirs there, on the batch's device
  nn::TokenBatch batch;

  /// The whole batch's pass over them alone, without a cache; this outlives it.
  nn::Pass pass(const nn::Pass& whole) const;
};

/// Every document in one of them.
std::vector<DocumentGroup> groups_by_length(const nn::TokenBatch& batch);

}  // namespace lora::torchscript
