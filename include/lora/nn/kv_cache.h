#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "lora/nn/attachment.h"
#include "lora/nn/batch.h"
#include "lora/ops/attention.h"

namespace lora::nn {

/// Keys and values, layer by layer, of documents that grow pass by pass. In each layer's tensors every document has its own slots,
/// as many as its maximum number of tokens, so that nothing moves while documents grow and leave the batch.
class KvCache {
 public:
  /// For documents 0, 1, … with at most this many tokens each. A layer's memory is allocated with its first keys.
  /// @param prefix_length keys that the adapter in use puts before each document's (Body::prefix_length). They have slots of their own.
  explicit KvCache(const std::vector<int64_t>& capacities, int64_t prefix_length = 0);

  /// Number of cached tokens of a document.
  int64_t length(int64_t document) const { return lengths_[document]; }

  /// Forgets a document's tokens; its slots remain reserved for it.
  void forget(int64_t document) { lengths_[document] = 0; }

  /// Assigns slots to a batch's tokens; called by cached_pass.
  void begin_pass(const BatchLayout& batch);
  /// Stores a layer's keys and values of the pass's tokens in their slots, and the prefix before documents that begin in this pass.
  void store(int64_t layer, const Tensor& k_TKE, const Tensor& v_TKE, const std::optional<KeyPrefix>& prefix = std::nullopt);

  /// All slots of a layer: [S, K, E], S slots in all.
  const Tensor& keys(int64_t layer) const { return layers_[layer].keys_SKE; }
  const Tensor& values(int64_t layer) const { return layers_[layer].values_SKE; }
  /// Where the keys of the pass's documents are, including the prefix's and those of the pass itself.
  ops::KeyLayout layout() const { return {begins_, used_, host_begins_, host_used_, longest_}; }

 private:
  struct Layer {
    Tensor keys_SKE;
    Tensor values_SKE;
  };

  int64_t prefix_length_;
  std::vector<int64_t> slots_;    ///< [documents + 1], where each document's slots begin
  std::vector<int64_t> lengths_;  ///< [documents]
  std::vector<Layer> layers_;

  // Of the current pass:
  Tensor places_T_;                               ///< int64, the slot of each token
  Tensor prefix_places_;                          ///< int64, the slots of the prefix before each document that begins
  Tensor begins_, used_;                          ///< int32 [D+1] and [D]
  std::vector<int64_t> host_begins_, host_used_;  ///< the same on the host
  int64_t longest_ = 0;
};

}  // namespace lora::nn
