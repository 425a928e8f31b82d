// T tokens, N documents, D hidden size, C labels.
#include "models/sequence_heads.h"

#include <ATen/ATen.h>

#include "models/families.h"

namespace lora::models {

namespace {

/// The first token of each document.
Tensor first_tokens(const nn::BatchLayout& layout) {
  return layout.offsets.slice(0, 0, -1).to(at::kLong);
}

/// Each document's last token that is not padding; in a document of only padding the first token, as in transformers.
Tensor last_tokens(const nn::Batch& batch, const std::optional<int64_t>& pad_id) {
  if (!pad_id) {
    return batch.layout.offsets.slice(0, 1).to(at::kLong) - 1;
  }
  const Tensor place_T = at::arange(batch.num_tokens(), batch.tokens().ids_T.options()).masked_fill(batch.tokens().ids_T.eq(*pad_id), -1);
  std::vector<Tensor> last;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    last.push_back(place_T.slice(0, batch.layout.host_offsets[d], batch.layout.host_offsets[d + 1]).max());
  }
  return at::maximum(at::stack(last), first_tokens(batch.layout));
}

/// A pass over rows that each represent a document: a row's random numbers have the key of the pooled token.
nn::Pass pass_of_rows(const nn::Pass& pass, const Tensor& rows_N) {
  nn::Pass rows = pass.of_rows(pass.training() ? pass.row_keys_T.index_select(0, rows_N) : Tensor());
  rows.observer = pass.observer;
  return rows;
}

Tensor means(const Tensor& hidden_TD, const nn::BatchLayout& layout) {
  std::vector<Tensor> rows;
  for (int64_t d = 0; d < layout.num_documents(); ++d) {
    rows.push_back(hidden_TD.slice(0, layout.host_offsets[d], layout.host_offsets[d + 1]).mean(0));
  }
  return at::stack(rows);
}

}  // namespace

ScoreHead::ScoreHead(int64_t hidden_size, int64_t num_labels, std::optional<int64_t> pad_id, io::WeightSource& source,
                     const at::TensorOptions& options)
    : score_("score", {hidden_size, num_labels}, source, options), pad_id_(pad_id) {}

Tensor ScoreHead::scores(const nn::Body& body, const nn::Pass& pass) const {
  const Tensor rows_N = last_tokens(pass.batch(), pad_id_);
  return score_.forward(body.hidden_of(rows_N, pass), pass_of_rows(pass, rows_N));
}

PooledHead::PooledHead(PooledHeadOptions head, io::WeightSource& source, const at::TensorOptions& options)
    : options_(std::move(head)),
      dense_(options_.dense, {options_.hidden_size, options_.hidden_size, options_.dense_bias}, source, options),
      output_(options_.output, {options_.hidden_size, options_.num_labels, true}, source, options),
      pooled_dropout_(options_.dense + ".dropout", options_.drops_pooled ? options_.dropout : 0.0),
      dropout_(options_.output + ".dropout", options_.dropout) {}

Tensor PooledHead::scores(const nn::Body& body, const nn::Pass& pass) const {
  const Tensor rows_N = first_tokens(pass.layout());
  const nn::Pass rows = pass_of_rows(pass, rows_N);
  Tensor x_ND = options_.pools_mean ? means(body.hidden(pass), pass.layout()) : body.hidden_of(rows_N, pass);
  x_ND = options_.activation(dense_.forward(pooled_dropout_.forward(x_ND, rows), rows));
  x_ND = options_.norm == nullptr ? x_ND : options_.norm->forward(x_ND);
  return output_.forward(dropout_.forward(x_ND, rows), rows);
}

std::vector<nn::Host*> PooledHead::hosts() {
  std::vector<nn::Host*> all{&dense_};
  if (options_.norm != nullptr) {
    all.push_back(options_.norm.get());
  }
  all.push_back(&output_);
  return all;
}

std::unique_ptr<nn::DocumentScorer> make_score_head(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                  const at::TensorOptions& options) {
  const std::optional<int64_t> pad_id = config.has("pad_token_id") ? std::optional(config.integer("pad_token_id")) : std::nullopt;
  return std::make_unique<ScoreHead>(shape.hidden_size, shape.num_labels, pad_id, source, options);
}

}  // namespace lora::models
