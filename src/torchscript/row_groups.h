#pragma once
#include <cstdint>
#include <vector>

#include "lora/nn/pass.h"

namespace lora::torchscript {

/// The documents of a batch that have the same length, as a batch of their own.
struct DocumentGroup {
  std::vector<int64_t> documents;  ///< their indices in the whole batch
  at::Tensor tokens;               ///< the indices of their tokens there, on the batch's device
  nn::Batch batch;

  /// A pass over only these documents with the settings of the whole batch's pass, without a cache.
  nn::Pass pass(const nn::Pass& whole) const;
};

/// The groups of a batch; every document is in one of them.
std::vector<DocumentGroup> groups_by_length(const nn::Batch& batch);

}  // namespace lora::torchscript
