#pragma once
#include <cstdint>

namespace lora::nn {

// What is computed from weights and kept, such as the norms of their rows, is valid until a weight changes. Whoever writes into the
// memory of a weight announces it here afterwards. The counts belong to the process, because an optimiser does not know which modules
// its parameters belong to, and the announcement is cheap: a count too many only means that something is computed again.

/// Announces new values of trained tensors: a step of the optimiser, a loaded adapter.
void trained_weights_changed();

/// Announces new values of frozen base weights.
void base_weights_changed();

/// How many changes of each kind there were.
struct WeightChanges {
  uint64_t trained = 0;
  uint64_t base = 0;
};
WeightChanges weight_changes();

}  // namespace lora::nn
