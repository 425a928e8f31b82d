#include "lora/nn/token_batch.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

TokenBatch TokenBatch::to(at::Device device) const {
  return with_tensors([device](const Tensor& tensor) { return tensor.to(device); });
}

std::vector<Tensor*> TokenBatch::tensors() {
  return {&ids_T, &positions_T, &labels_T, &supervised_S, &segments_T, &offsets, &features, &targets};
}

void TokenBatch::copy_tensors(const TokenBatch& other) {
  TokenBatch given = other;
  const std::vector<Tensor*> to = tensors(), from = given.tensors();
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i]->defined()) {
      to[i]->copy_(*from[i]);
    }
  }
}

TokenBatch TokenBatch::with_tensors(const std::function<Tensor(const Tensor&)>& change) const {
  TokenBatch changed = *this;
  for (Tensor* tensor : changed.tensors()) {
    if (tensor->defined()) {
      *tensor = change(*tensor);
    }
  }
  return changed;
}

void TokenBatch::set_labels(Tensor all_T) {
  labels_T = std::move(all_T);
  supervised_S = labels_T.ne(kIgnoreLabel).nonzero().squeeze(1);
  num_supervised = supervised_S.numel();
}

namespace {

Tensor segments_of(const std::vector<DocumentView>& documents, const std::vector<int64_t>& offsets) {
  Tensor segments_T;
  for (size_t d = 0; d < documents.size(); ++d) {
    if (documents[d].second_segment > 0) {
      segments_T = segments_T.defined() ? segments_T : at::zeros({offsets.back()}, at::kLong);
      segments_T.slice(0, offsets[d] + documents[d].second_segment, offsets[d + 1]).fill_(1);
    }
  }
  return segments_T;
}

}  // namespace

TokenBatch make_token_batch(const std::vector<DocumentView>& documents) {
  TokenBatch batch;
  batch.document_offsets.push_back(0);
  for (const DocumentView& document : documents) {
    const int64_t length = static_cast<int64_t>(document.ids->size());
    batch.document_offsets.push_back(batch.document_offsets.back() + length);
    batch.sample_ids.push_back(document.sample_id);
    batch.cached_lengths.push_back(document.cached_length);
    batch.max_document = std::max(batch.max_document, length);
  }
  const int64_t total = batch.document_offsets.back();
  batch.ids_T = at::empty({total}, at::kLong);
  batch.positions_T = at::empty({total}, at::kLong);
  batch.offsets = at::empty({static_cast<int64_t>(documents.size()) + 1}, at::kInt);
  std::copy(batch.document_offsets.begin(), batch.document_offsets.end(), batch.offsets.data_ptr<int32_t>());

  int64_t* ids = batch.ids_T.data_ptr<int64_t>();
  int64_t* positions = batch.positions_T.data_ptr<int64_t>();
  const Tensor labels_T = at::empty({total}, at::kLong);
  int64_t* labels = labels_T.data_ptr<int64_t>();
  for (const DocumentView& document : documents) {
    const size_t length = document.ids->size();
    for (size_t i = 0; i < length; ++i) {
      *ids++ = (*document.ids)[i];
      *positions++ = document.cached_length + static_cast<int64_t>(i);
      *labels++ = document.labels != nullptr && i + 1 < length ? (*document.labels)[i + 1] : kIgnoreLabel;
    }
  }
  batch.set_labels(labels_T);
  batch.segments_T = segments_of(documents, batch.document_offsets);
  return batch;
}

}  // namespace lora::nn
