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

/// Padding documents after those of the layout, none longer than the room's longest.
BatchLayout padded_layout(const BatchLayout& layout, int64_t tokens, int64_t documents, int64_t longest) {
  BatchLayout whole = layout;
  while (whole.num_documents() < documents) {
    whole.host_offsets.push_back(std::min(tokens, whole.host_offsets.back() + longest));
    whole.sample_ids.push_back(-1);
    whole.numbers.push_back(0);
    whole.cached_lengths.push_back(0);
  }
  whole.max_document = longest;
  whole.positions_T = extended(layout.positions_T, tokens, 0);
  const at::Device device = layout.device();
  const Tensor offsets = at::empty({documents + 1}, at::TensorOptions(at::kInt).pinned_memory(device.is_cuda()));
  std::copy(whole.host_offsets.begin(), whole.host_offsets.end(), offsets.data_ptr<int32_t>());
  whole.offsets = offsets.to(device, at::kInt, /*non_blocking=*/true);
  return whole;
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

BatchRoom room_of(const Batch& batch) {
  return {batch.num_tokens(), batch.num_documents(), batch.num_supervised(), batch.layout.max_document};
}

Batch padded(const Batch& batch, const BatchRoom& room) {
  const int64_t tokens = tokens_in_all(room), documents = documents_in_all(room);
  const TokenLabels& own = batch.labels();
  // Spread over the vocabulary, as gradients for the same row would wait for each other.
  const int64_t begin = batch.num_tokens(), missing = room.supervised - batch.num_supervised();
  const Tensor padding_S = at::arange(missing, own.supervised_S.options()).remainder(tokens - begin).add(begin);
  return {padded_layout(batch.layout, tokens, documents, room.longest), Tokens{extended(batch.tokens().ids_T, tokens, 0), std::nullopt},
          TokenLabels(extended(own.labels_T, tokens, kIgnoreLabel), at::cat({own.supervised_S, padding_S}))};
}

}  // namespace lora::nn
