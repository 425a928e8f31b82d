#include "torchscript/row_groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

namespace lora::torchscript {

namespace {

at::Tensor tokens_of(const nn::TokenBatch& batch, const std::vector<int64_t>& documents) {
  std::vector<at::Tensor> tokens;
  for (const int64_t d : documents) {
    tokens.push_back(at::arange(batch.document_offsets[d], batch.document_offsets[d + 1]));
  }
  return at::cat(tokens).to(batch.ids_T.device());
}

nn::TokenBatch some_documents(const nn::TokenBatch& batch, const std::vector<int64_t>& documents, const at::Tensor& tokens) {
  nn::TokenBatch part;
  part.ids_T = batch.ids_T.index_select(0, tokens);
  part.positions_T = batch.positions_T.index_select(0, tokens);
  part.set_labels(batch.labels_T.index_select(0, tokens));
  part.segments_T = batch.segments_T.defined() ? batch.segments_T.index_select(0, tokens) : at::Tensor();
  part.document_offsets = {0};
  for (const int64_t d : documents) {
    const int64_t length = batch.document_offsets[d + 1] - batch.document_offsets[d];
    part.document_offsets.push_back(part.document_offsets.back() + length);
    part.sample_ids.push_back(batch.sample_ids[d]);
    part.max_document = std::max(part.max_document, length);
  }
  part.offsets = at::tensor(part.document_offsets, at::kInt).to(batch.ids_T.device());
  const at::Tensor rows = at::tensor(documents, at::kLong).to(batch.ids_T.device());
  part.features = batch.features.defined() ? batch.features.index_select(0, rows) : at::Tensor();
  part.targets = batch.targets.defined() ? batch.targets.index_select(0, rows) : at::Tensor();
  return part;
}

}  // namespace

nn::Pass DocumentGroup::pass(const nn::Pass& whole) const {
  return {batch, whole.training() ? whole.row_keys_T.index_select(0, tokens) : at::Tensor(), nullptr, whole.observer};
}

std::vector<DocumentGroup> groups_by_length(const nn::TokenBatch& batch) {
  std::map<int64_t, std::vector<int64_t>> by_length;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    by_length[batch.document_offsets[d + 1] - batch.document_offsets[d]].push_back(d);
  }
  std::vector<DocumentGroup> groups;
  for (auto& [length, documents] : by_length) {
    const at::Tensor tokens = tokens_of(batch, documents);
    const nn::TokenBatch part = some_documents(batch, documents, tokens);
    groups.push_back({std::move(documents), tokens, part});
  }
  return groups;
}

}  // namespace lora::torchscript
