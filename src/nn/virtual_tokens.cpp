#include <ATen/ATen.h>

#include "lora/nn/batch.h"
#include "nn/prefixed_documents.h"

namespace lora::nn {

namespace {

/// Labels of the batch with virtual tokens before each document: the last of them predicts the first token.
TokenLabels labels_after(const TokenLabels& own, const PrefixedDocuments& places, int64_t count) {
  const Tensor begins_D = places.layout().offsets.slice(0, 0, -1).to(at::kLong);
  const Tensor last_F = begins_D.index_select(0, own.first_documents_F) + count - 1;
  const Tensor none_N = at::full({count}, kIgnoreLabel, own.labels_T.options());
  const Tensor labels_T = places.with_prefix(none_N, own.labels_T).index_copy_(0, last_F, own.first_labels_F);
  return {labels_T, std::get<0>(at::cat({places.places_of(own.supervised_S), last_F}).sort())};
}

}  // namespace

Batch with_virtual_tokens(const Batch& batch, int64_t count) {
  if (count == 0) {
    return batch;
  }
  for (const int64_t cached : batch.layout.cached_lengths) {
    TORCH_CHECK(cached == 0, "virtual tokens are put before whole documents: found one with ", cached, " cached tokens");
  }
  const PrefixedDocuments places(batch.layout, count);
  Batch longer = batch;
  static_cast<ops::DocumentLayout&>(longer.layout) = places.layout();
  const Tensor& ids_T = batch.tokens().ids_T;
  const Tensor number_N = at::arange(count, ids_T.options());
  longer.layout.positions_T = places.with_prefix(number_N, batch.layout.positions_T + count);
  Tokens tokens{places.with_prefix(virtual_token(0) - number_N, ids_T), std::nullopt};
  if (batch.tokens().segments_T) {
    tokens.segments_T = places.with_zeros(*batch.tokens().segments_T);
  }
  longer.payload = std::move(tokens);
  if (const auto* const labels = std::get_if<TokenLabels>(&batch.targets)) {
    longer.targets = labels_after(*labels, places, count);
  }
  return longer;
}

}  // namespace lora::nn
