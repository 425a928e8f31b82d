#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lora/nn/token_batch.h"
#include "lora/ops/attention.h"

namespace lora::nn {

/// Keys and values, layer by layer, of documents that grow pass by pass. In each layer's tensors every document has places
/// of its own, as many as it may have tokens, so that nothing moves while documents grow and leave the batch.
class KvCache {
 public:
  /// Documents 0, 1, …, of at most so many tokens each. A layer's memory is taken when its first keys come.
  explicit KvCache(const std::vector<int64_t>& capacities);

  /// Tokens of a document that are cached.
  int64_t length(int64_t document) const { return lengths_[document]; }

  /// Empties a document's places; they stay its own.
  void forget(int64_t document) { lengths_[document] = 0; }

  /// Gives the batch's tokens their places; cached_pass calls it.
  void begin_pass(const TokenBatch& batch);
  /// Puts a layer's keys and values of the pass's tokens in their places.
  void store(int64_t layer, const Tensor& k_TKE, const Tensor& v_TKE);

  /// Everything that a layer has: [S, K, E], S places in all.
  const Tensor& keys(int64_t layer) const { return layers_[layer].keys_SKE; }
  const Tensor& values(int64_t layer) const { return layers_[layer].values_SKE; }
  /// Where the keys of the pass's documents stand, the pass's own included.
  ops::KeyLayout layout() const { return {begins_, used_, host_begins_, host_used_, longest_}; }

 private:
  struct Layer {
    Tensor keys_SKE;
    Tensor values_SKE;
  };

  std::vector<int64_t> slots_;    ///< [documents + 1], where each document's places begin
  std::vector<int64_t> lengths_;  ///< [documents]
  std::vector<Layer> layers_;

  // Of the pass that runs:
  Tensor places_T_;                               ///< int64, the place of each token
  Tensor begins_, used_;                          ///< int32 [D+1] and [D]
  std::vector<int64_t> host_begins_, host_used_;  ///< the same on the host
  int64_t longest_ = 0;
};

}  // namespace lora::nn
