#pragma once
#include "lora/nn/token_batch.h"

namespace lora::nn {

/// What batches of one shape have room for.
struct BatchRoom {
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t supervised = 0;
  int64_t longest = 0;  ///< of its documents

  /// Makes room for such a batch too.
  void add(const BatchRoom& batch);
  bool holds(const BatchRoom& batch) const;
};

/// What a batch needs.
BatchRoom room_of(const TokenBatch& batch);

/// The batch in the one shape of all that the room holds: behind its documents stand some of tokens that are nobody's,
/// each no longer than the longest, and then empty ones; behind its supervised tokens some of nobody's, whose label is
/// kIgnoreLabel. Its losses and gradients stay what they are. Not for texts of two segments.
TokenBatch padded(const TokenBatch& batch, const BatchRoom& room);

}  // namespace lora::nn
