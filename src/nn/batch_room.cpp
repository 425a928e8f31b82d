#include "lora/nn/batch_room.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

namespace {

/// Matrix products are fastest if the number of rows is a multiple of this.
constexpr int64_t kTokensMultiple = 64;

/// At least one token is padding.
int64_t tokens_in_all(const BatchRoom& room) {
  return (room.tokens / kTokensMultiple + 1) * kTokensMultiple;
}

/// The number of padding documents that suffice whatever number of tokens a batch leaves free, even all.
int64_t documents_in_all(const BatchRoom& room) {
  return room.documents + (tokens_in_all(room) + room.longest - 1) / room.longest;
}

Tensor extended(const Tensor& values, int64_t size, int64_t with) {
  return at::constant_pad_nd(values, {0, size - values.size(0)}, with);
}

}  // namespace

void BatchRoom::add(const BatchRoom& batch) {
  tokens = std::max(tokens, batch.tokens);
  documents = std::max(documents, batch.documents);
  supervised = std::max(supervised, batch.supervised);
  longest = std::max(longest, batch.longest);
}

bool BatchRoom::holds(const BatchRoom& batch) const {
  return batch.tokens <= tokens && batch.documents <= documents && batch.supervised <= supervised && batch.longest <= longest;
}

BatchRoom room_of(const TokenBatch& batch) {
  return {batch.num_tokens(), batch.num_documents(), batch.num_supervised, batch.max_document};
}

TokenBatch padded(const TokenBatch& batch, const BatchRoom& room) {
  const int64_t tokens = tokens_in_all(room), documents = documents_in_all(room);
  TokenBatch whole = batch;
  while (static_cast<int64_t>(whole.sample_ids.size()) < documents) {
    whole.document_offsets.push_back(std::min(tokens, whole.document_offsets.back() + room.longest));
    whole.sample_ids.push_back(-1);
    whole.cached_lengths.push_back(0);
  }
  whole.max_document = room.longest;
  whole.ids_T = extended(batch.ids_T, tokens, 0);
  whole.positions_T = extended(batch.positions_T, tokens, 0);
  whole.labels_T = extended(batch.labels_T, tokens, kIgnoreLabel);
  // Spread over the vocabulary, as gradients for the same row would wait for each other.
  const int64_t begin = batch.num_tokens(), missing = room.supervised - batch.num_supervised;
  const Tensor padding_S = at::arange(missing, batch.supervised_S.options()).remainder(tokens - begin).add(begin);
  whole.supervised_S = at::cat({batch.supervised_S, padding_S});
  const Tensor offsets = at::empty({documents + 1}, at::TensorOptions(at::kInt).pinned_memory(batch.ids_T.is_cuda()));
  std::copy(whole.document_offsets.begin(), whole.document_offsets.end(), offsets.data_ptr<int32_t>());
  whole.offsets = offsets.to(batch.ids_T.device(), at::kInt, /*non_blocking=*/true);
  return whole;
}

}  // namespace lora::nn
