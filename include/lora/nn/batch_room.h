#pragma once
#include "lora/nn/batch.h"

namespace lora::nn {

/// The capacity of batches that share one shape.
struct BatchRoom {
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t supervised = 0;
  int64_t longest = 0;  ///< length of its longest document

  /// Extends the capacity to such a batch.
  void add(const BatchRoom& batch);
  bool holds(const BatchRoom& batch) const;
};

/// The capacity that a batch needs.
BatchRoom room_of(const Batch& batch);

/// The batch padded to the shape that the room describes. After its documents come padding documents, none longer than the
/// longest, and then empty ones; after its supervised tokens come padding tokens, whose label is kIgnoreLabel. Losses and
/// gradients are unchanged. Not for documents of two segments.
Batch padded(const Batch& batch, const BatchRoom& room);

}  // namespace lora::nn
