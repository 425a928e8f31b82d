#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace lora::nn {

using at::Tensor;

/// Label of a position that has no target.
inline constexpr int64_t kIgnoreLabel = -100;

/// Documents packed end to end: the only batch format. There is no padding and hence no padding mask; attention stays within a
/// document by `offsets`. T tokens in all, D documents. Networks that are not language models get rows of features in the same
/// form: each row is a document of one position, with the id 0 and its own features.
struct TokenBatch {
  Tensor ids_T;         ///< int64
  Tensor positions_T;   ///< int64, restarts in each document: at 0, or after its cached tokens
  Tensor labels_T;      ///< int64, already shifted: the token that follows, kIgnoreLabel where not supervised
  Tensor supervised_S;  ///< int64, the tokens that have a label, ascending; computed on the host, so that no pass waits for a device
  Tensor segments_T;    ///< int64, which of a document's two texts a token is in (token_type_ids); undefined: all in the first
  Tensor offsets;       ///< int32 [D+1], cumulative document lengths (cu_seqlens)
  Tensor features;      ///< float32 [D, ...], one row of features per document of one position; undefined: documents are tokens
  Tensor targets;  ///< the label of each document as a whole: int64 [D] for classes, or float32 [D] or [D, K]; undefined: none
  std::vector<int64_t> document_offsets;  ///< the same on the host, so that no CPU loop waits for a device
  std::vector<int64_t> sample_ids;        ///< [D], index of each document in its dataset
  std::vector<int64_t> cached_lengths;    ///< [D], tokens of each document that earlier passes left in a KvCache
  int64_t max_document = 0;               ///< length of the longest document
  int64_t num_supervised = 0;
  bool is_replayed = false;  ///< a DeviceGraph replays it with other batches of the same shape: the host's fields only hold for this one

  int64_t num_tokens() const { return document_offsets.empty() ? 0 : document_offsets.back(); }
  int64_t num_documents() const { return static_cast<int64_t>(sample_ids.size()); }
  /// Tokens of a document, including the cached ones.
  int64_t full_length(int64_t document) const {
    return cached_lengths[document] + document_offsets[document + 1] - document_offsets[document];
  }
  /// Sets the label of every token, and supervised_S accordingly; on the CPU.
  void set_labels(Tensor all_T);
  /// The batch with each of its tensors transformed.
  TokenBatch with_tensors(const std::function<Tensor(const Tensor&)>& change) const;
  TokenBatch to(at::Device device) const;
  /// Overwrites the tensors with those of a batch of the same shape.
  void copy_tensors(const TokenBatch& other);

 private:
  std::vector<Tensor*> tensors();
};

/// One document for make_token_batch: `labels` are not shifted; null: nothing is supervised.
struct DocumentView {
  const std::vector<int32_t>* ids;
  const std::vector<int32_t>* labels;
  int64_t sample_id;
  int64_t cached_length = 0;   ///< number of cached tokens before these
  int64_t second_segment = 0;  ///< where the second of two texts begins; 0: there is only one
};

/// Packs documents, in order, into one batch on the CPU.
TokenBatch make_token_batch(const std::vector<DocumentView>& documents);

}  // namespace lora::nn
