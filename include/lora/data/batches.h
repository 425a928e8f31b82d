#pragma once
#include <cstdint>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/token_batch.h"

namespace lora::data {

struct BatchOptions {
  int64_t batch_size = 8;  ///< documents a batch, or bins a batch with packing
  bool packing = false;
  int64_t max_length = 1024;  ///< tokens a bin
  bool shuffle = true;
  uint64_t seed = 42;
  int64_t tokens_per_batch = 0;  ///< above 0: in place of batch_size
};

/// Which documents stand in which batch, in order: a pure function of the dataset, the options and the epoch.
/// Without packing, examples in shuffled (or file) order, batch_size at a time, the last batch may be smaller. With
/// packing, the epoch's examples are put into bins of at most max_length tokens by best-fit decreasing (Johnson, 1973;
/// ties by the epoch's order), and the bins are shuffled. With tokens_per_batch, documents (or bins) are put together, in
/// their order, until the next would exceed it; one that exceeds it alone stands alone. An example of weight w stands
/// floor(w) times in an epoch and once more with probability w - floor(w).
std::vector<std::vector<int64_t>> plan_epoch(const Dataset& dataset, const BatchOptions& options, int64_t epoch);

/// Groups of examples put together in their order until the next would exceed `tokens`; one that exceeds it alone stands alone.
std::vector<std::vector<int64_t>> join_by_tokens(const Dataset& dataset, const std::vector<std::vector<int64_t>>& groups, int64_t tokens);

/// Examples in as few groups of at most `tokens` as a multiple of `multiple` gives, of about the same size: the longest first, each to the
/// group that has the fewest yet (Graham 1969, LPT). One that exceeds it alone stands alone; no group is empty. They keep their order, in a
/// group and by the groups' first.
std::vector<std::vector<int64_t>> spread_by_tokens(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t tokens,
                                                   int64_t multiple);

/// The documents of `indices` as one batch on the CPU.
nn::TokenBatch make_batch(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data
