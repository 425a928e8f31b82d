#pragma once
#include <cstdint>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/batch.h"

namespace lora::data {

struct BatchOptions {
  int64_t batch_size = 8;  ///< documents per batch; with packing, bins per batch
  bool packing = false;
  int64_t max_length = 1024;  ///< tokens per bin
  bool shuffle = true;
  uint64_t seed = 42;
  int64_t tokens_per_batch = 0;  ///< above 0: replaces batch_size
};

/// Which examples are in which batch, in order: a pure function of the dataset, the options and the epoch.
/// Without packing: examples in shuffled (or file) order, batch_size at a time; the last batch may be smaller. With
/// packing: the epoch's examples are put into bins of at most max_length tokens by best-fit decreasing (Johnson, 1973;
/// ties in the epoch's order), and the bins are shuffled. With tokens_per_batch: documents (or bins) are grouped in their
/// order until the next one would exceed it; one that exceeds it by itself forms its own batch. An example of weight w occurs
/// floor(w) times in an epoch, and once more with probability w - floor(w). Images are in batches of one size: each joins the open batch
/// of its size, and if there are several sizes the batches are shuffled; of the forms of an image (Example::is_form) an epoch has one.
std::vector<std::vector<int64_t>> plan_epoch(const Dataset& dataset, const BatchOptions& options, int64_t epoch);

/// Groups of examples, in their order, each filled until the next example would exceed `tokens`; an example that exceeds it by itself
/// forms its own group.
std::vector<std::vector<int64_t>> join_by_tokens(const Dataset& dataset, const std::vector<std::vector<int64_t>>& groups, int64_t tokens);

/// Examples in groups of at most `tokens` and of similar size. The number of groups is the smallest multiple of `multiple` that suffices:
/// the longest example first, each to the group with the fewest tokens so far (Graham 1969, LPT). An example that exceeds `tokens` by
/// itself forms its own group; no group is empty. Examples keep their order within a group, and groups are ordered by their first example.
std::vector<std::vector<int64_t>> spread_by_tokens(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t tokens,
                                                   int64_t multiple);

/// The documents of `indices` as one batch on the CPU.
nn::Batch make_batch(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data
