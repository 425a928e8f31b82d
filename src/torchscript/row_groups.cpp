#include "torchscript/row_groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

namespace lora::torchscript {

namespace {

at::Tensor tokens_of(const nn::BatchLayout& layout, const std::vector<int64_t>& documents) {
  std::vector<at::Tensor> tokens;
  for (const int64_t d : documents) {
    tokens.push_back(at::arange(layout.host_offsets[d], layout.host_offsets[d + 1]));
  }
  return at::cat(tokens).to(layout.device());
}

nn::BatchLayout some_layout(const nn::BatchLayout& layout, const std::vector<int64_t>& documents) {
  std::vector<nn::DocumentPlace> places;
  for (const int64_t d : documents) {
    places.push_back({layout.length(d), layout.sample_ids[d], layout.cached_lengths[d], layout.numbers[d]});
  }
  nn::BatchLayout part = nn::make_layout(places);
  part.offsets = part.offsets.to(layout.device());
  part.positions_T = part.positions_T.to(layout.device());
  return part;
}

/// The batch of only these documents; `tokens` are the indices of their tokens.
nn::Batch some_documents(const nn::Batch& batch, const std::vector<int64_t>& documents, const at::Tensor& tokens) {
  nn::Batch part{some_layout(batch.layout, documents), {}, {}};
  const at::Tensor rows = at::tensor(documents, at::kLong).to(batch.layout.device());
  if (const auto* const whole = std::get_if<nn::Tokens>(&batch.payload)) {
    part.payload = nn::Tokens{whole->ids_T.index_select(0, tokens),
                              whole->segments_T ? std::optional(whole->segments_T->index_select(0, tokens)) : std::nullopt};
  } else {
    part.payload = nn::Features{batch.features().values.index_select(0, rows)};
  }
  if (const auto* const labels = std::get_if<nn::TokenLabels>(&batch.targets)) {
    part.targets = nn::TokenLabels(labels->labels_T.index_select(0, tokens));
  } else if (const auto* const targets = std::get_if<nn::DocumentTargets>(&batch.targets)) {
    part.targets = nn::DocumentTargets{targets->values.index_select(0, rows)};
  }
  return part;
}

}  // namespace

nn::Pass DocumentGroup::pass(const nn::Pass& whole) const {
  nn::Pass own(batch, whole.training() ? whole.row_keys_T.index_select(0, tokens) : at::Tensor());
  own.observer = whole.observer;
  return own;
}

std::vector<DocumentGroup> groups_by_length(const nn::Batch& batch) {
  std::map<int64_t, std::vector<int64_t>> by_length;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    by_length[batch.layout.length(d)].push_back(d);
  }
  std::vector<DocumentGroup> groups;
  for (auto& [length, documents] : by_length) {
    const at::Tensor tokens = tokens_of(batch.layout, documents);
    const nn::Batch part = some_documents(batch, documents, tokens);
    groups.push_back({std::move(documents), tokens, part});
  }
  return groups;
}

}  // namespace lora::torchscript
