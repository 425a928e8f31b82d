#include "torchscript/script_model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "torchscript/row_groups.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

}  // namespace

ScriptModel::ScriptModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, std::string output)
    : NetworkModel(std::move(network), inputs, RowKind::kLearntTokens, std::move(output)) {
  const nn::Linear* head = this->network().hosts().head;
  const int64_t rows = num_ids();
  vocab_size_ = rows > 0 ? rows : head != nullptr ? head->out_features() : 0;
  if (vocab_size_ == 0) {
    model_error(this->network().where(), "is not a language model: found no table of token ids (aten::embedding) and no head");
  }
}

int64_t ScriptModel::safe_length() const {
  constexpr int64_t kSegments = 2;  // tables with this number of rows are for segments
  const std::vector<Lookup>& lookups = network().hosts().lookups;
  int64_t length = INT64_MAX;
  for (const auto& host : network().hosts().all) {
    const auto* table = dynamic_cast<const nn::Embedding*>(host.get());
    const auto is_its = [&](const Lookup& lookup) { return lookup.table == table && is_of_ids(lookup); };
    if (table != nullptr && table->num_tokens() > kSegments && std::none_of(lookups.begin(), lookups.end(), is_its)) {
      length = std::min(length, table->num_tokens());
    }
  }
  return length;
}

nn::PassMemory ScriptModel::pass_memory(nn::Recompute) const {
  // What the graph keeps is not known. Count the inputs and outputs of every linear operation, and the same again for what is between.
  int64_t features = 0;
  for (const auto& host : network().hosts().all) {
    if (const auto* linear = dynamic_cast<const nn::Linear*>(host.get())) {
      features += 2 * (linear->in_features() + linear->out_features());
    }
  }
  const auto size = static_cast<int64_t>(c10::elementSize(dtype()));
  return {.kept = features * size, .working = 2 * vocab_size_ * size, .forward = (features + vocab_size_) * size};
}

Tensor ScriptModel::logits_of(const c10::IValue& result, const Rectangle& rectangle) const {
  const Tensor logits_DLV = take_output(result, output(), network().where());
  if (logits_DLV.dim() != 3 || logits_DLV.size(0) != rectangle.num_documents || logits_DLV.size(1) != rectangle.length) {
    model_error(network().where(), "returns no logits: found a tensor " + io::shape_text(logits_DLV.sizes()) + " for ids " +
                                       io::shape_text({rectangle.num_documents, rectangle.length}) +
                                       ", expected [batch, length, vocabulary]. Set model.output to the right one.");
  }
  if (logits_DLV.size(2) < vocab_size_) {
    model_error(network().where(), "returns no logits: found " + std::to_string(logits_DLV.size(2)) +
                                       " numbers per token, expected at least " + std::to_string(vocab_size_) +
                                       ", the rows of its table of ids. Set model.output to the right output.");
  }
  return logits_DLV;
}

Tensor ScriptModel::hidden(const nn::Pass& pass) const {
  begin(pass);
  if (!keeps_lengths_apart()) {
    return rectangle_logits(pass);
  }
  std::vector<Tensor> logits, tokens;
  for (const DocumentGroup& group : groups_by_length(pass.batch())) {
    tokens.push_back(group.tokens);
    logits.push_back(rectangle_logits(group.pass(pass)));
  }
  return at::cat(logits).index_select(0, at::cat(tokens).argsort());
}

Tensor ScriptModel::rectangle_logits(const nn::Pass& pass) const {
  const Rectangle rectangle = make_rectangle(pass.batch());
  const Tensor logits_DLV = logits_of(run(pass, rectangle), rectangle);
  return logits_DLV.flatten(0, 1).index_select(0, rectangle.places_T);
}

}  // namespace lora::torchscript
