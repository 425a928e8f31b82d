#include "script_model.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <map>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

/// What is random in the base but for aten::dropout has no key of ours: its generator is set by the pass's keys, so that a step is the
/// same step again.
void seed_base_dropout(const nn::Pass& pass, at::Device device) {
  if (pass.row_keys_T.numel() > 0) {
    const auto key = static_cast<uint64_t>(pass.row_keys_T[0].item<int64_t>());
    at::Generator generator = at::globalContext().defaultGenerator(device);
    generator.set_current_seed(key);
  }
}

std::map<int64_t, std::vector<int64_t>> by_length(const nn::TokenBatch& batch) {
  std::map<int64_t, std::vector<int64_t>> documents;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    documents[batch.document_offsets[d + 1] - batch.document_offsets[d]].push_back(d);
  }
  return documents;
}

/// Which tokens of the batch are theirs.
Tensor tokens_of(const nn::TokenBatch& batch, const std::vector<int64_t>& documents) {
  std::vector<Tensor> tokens;
  for (const int64_t d : documents) {
    tokens.push_back(at::arange(batch.document_offsets[d], batch.document_offsets[d + 1]));
  }
  return at::cat(tokens);
}

nn::TokenBatch some_documents(const nn::TokenBatch& batch, const std::vector<int64_t>& documents, const Tensor& tokens) {
  nn::TokenBatch part;
  part.ids_T = batch.ids_T.index_select(0, tokens);
  part.positions_T = batch.positions_T.index_select(0, tokens);
  part.labels_T = batch.labels_T.index_select(0, tokens);
  part.document_offsets = {0};
  for (const int64_t d : documents) {
    const int64_t length = batch.document_offsets[d + 1] - batch.document_offsets[d];
    part.document_offsets.push_back(part.document_offsets.back() + length);
    part.sample_ids.push_back(batch.sample_ids[d]);
    part.max_document = length;
  }
  part.offsets = at::tensor(part.document_offsets, at::kInt).to(batch.ids_T.device());
  return part;
}

}  // namespace

ScriptModel::ScriptModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, std::string output)
    : network_(std::move(network)), fields_(*network_, inputs), output_(std::move(output)) {
  vocab_size_ = find_vocabulary();
  if (vocab_size_ == 0) {
    model_error(network_->where(), "is no language model: found no table that looks ids up (aten::embedding), and no head");
  }
}

int64_t ScriptModel::find_vocabulary() const {
  int64_t rows = 0;
  for (const Lookup& lookup : network_->hosts().lookups) {
    if (is_of_ids(lookup)) {
      rows = rows == 0 ? lookup.num_rows : std::min(rows, lookup.num_rows);
    }
  }
  const nn::Linear* head = network_->hosts().head;
  return rows > 0 ? rows : head != nullptr ? head->out_features() : 0;
}

int64_t ScriptModel::safe_length() const {
  constexpr int64_t kSegments = 2;  // tables of so many rows are of segments
  const std::vector<Lookup>& lookups = network_->hosts().lookups;
  int64_t length = INT64_MAX;
  for (const auto& host : network_->hosts().all) {
    const auto* table = dynamic_cast<const nn::Embedding*>(host.get());
    const auto is_its = [&](const Lookup& lookup) { return lookup.table == table && is_of_ids(lookup); };
    if (table != nullptr && table->num_tokens() > kSegments && std::none_of(lookups.begin(), lookups.end(), is_its)) {
      length = std::min(length, table->num_tokens());
    }
  }
  return length;
}

void ScriptModel::warn_of_idle_hosts() const {
  std::vector<std::string> names;
  for (const nn::MatrixHost* host : idle_) {
    if (host->is_trained()) {
      names.push_back(host->name());
    }
  }
  idle_.clear();
  if (!names.empty()) {
    log::warn("[" + network_->where() + "] a small batch when it was loaded did not use " + join(names, ", ", 8) +
              ": whether an adapter there does what it should is not known");
  }
}

std::vector<nn::Host*> ScriptModel::hosts() {
  std::vector<nn::Host*> all;
  for (const auto& host : network_->hosts().all) {
    const auto unreached = network_->hosts().unreached.find(host.get());
    all.push_back(unreached == network_->hosts().unreached.end() ? host.get() : unreached->second.get());
  }
  const std::vector<Lookup>& lookups = network_->hosts().lookups;
  std::stable_partition(all.begin(), all.end(), [&](const nn::Host* host) {  // the table of ids first
    return std::any_of(lookups.begin(), lookups.end(), [&](const Lookup& lookup) { return lookup.table == host && is_of_ids(lookup); });
  });
  if (network_->hosts().head != nullptr) {  // the head last
    const auto head = std::find(all.begin(), all.end(), network_->hosts().head);
    if (head != all.end()) {
      std::rotate(head, head + 1, all.end());
    }
  }
  return all;
}

std::vector<nn::Parameter> ScriptModel::base_parameters() const {
  std::vector<nn::Parameter> all;
  for (const auto& host : network_->hosts().all) {
    const std::vector<nn::Parameter> own = host->base_parameters();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

nn::PassMemory ScriptModel::pass_memory(nn::Recompute) const {
  // What the graph keeps is not known: inputs and outputs of every linear operation, and again as much between them.
  int64_t features = 0;
  for (const auto& host : network_->hosts().all) {
    if (const auto* linear = dynamic_cast<const nn::Linear*>(host.get())) {
      features += 2 * (linear->in_features() + linear->out_features());
    }
  }
  const auto size = static_cast<int64_t>(c10::elementSize(dtype()));
  return {features * size, 2 * vocab_size_ * size, (features + vocab_size_) * size};
}

Tensor ScriptModel::logits_of(const c10::IValue& result, const Rectangle& rectangle) const {
  const Tensor logits_DLV = take_output(result, output_, network_->where());
  if (logits_DLV.dim() != 3 || logits_DLV.size(0) != rectangle.num_documents || logits_DLV.size(1) != rectangle.length) {
    std::string sizes;
    for (const int64_t size : logits_DLV.sizes()) {
      sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
    }
    model_error(network_->where(), "gives no logits: found a tensor [" + sizes + "] for ids [" + std::to_string(rectangle.num_documents) +
                                       ", " + std::to_string(rectangle.length) +
                                       "], expected [batch, length, vocabulary]. Name the right one by model.output");
  }
  if (logits_DLV.size(2) < vocab_size_) {
    model_error(network_->where(), "gives no logits: found " + std::to_string(logits_DLV.size(2)) +
                                       " numbers a token, expected one for each of " + std::to_string(vocab_size_) +
                                       " ids, the rows of the table that looks them up. Name the right output by model.output");
  }
  return logits_DLV;
}

Tensor ScriptModel::hidden(const nn::Pass& pass) const {
  if (pass.training()) {
    seed_base_dropout(pass, device());
    warn_of_idle_hosts();
  }
  if (!keeps_lengths_apart_) {
    return rectangle_logits(pass);
  }
  std::vector<Tensor> logits, tokens;
  for (const auto& [length, documents] : by_length(pass.batch)) {
    tokens.push_back(tokens_of(pass.batch, documents).to(device()));
    const nn::TokenBatch part = some_documents(pass.batch, documents, tokens.back());
    logits.push_back(
        rectangle_logits({part, pass.training() ? pass.row_keys_T.index_select(0, tokens.back()) : Tensor(), nullptr, pass.observer}));
  }
  return at::cat(logits).index_select(0, at::cat(tokens).argsort());
}

Tensor ScriptModel::rectangle_logits(const nn::Pass& pass) const {
  const Rectangle rectangle = make_rectangle(pass.batch);
  Rows rows{Tensor(), rectangle.num_documents, rectangle.places_T, rectangle.length};
  if (pass.training()) {
    rows.keys = at::zeros({rectangle.num_documents * rectangle.length}, pass.row_keys_T.options())
                    .index_copy(0, rectangle.places_T, pass.row_keys_T);
  }
  const Tensor logits_DLV = logits_of(network_->run(fields_.arguments(pass.batch, rectangle), pass, rows), rectangle);
  return logits_DLV.flatten(0, 1).index_select(0, rectangle.places_T);
}

}  // namespace lora::torchscript
