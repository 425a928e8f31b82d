// T tokens, D hidden size.
#include "models/encoder.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/nn/layer_norm.h"

namespace lora::models {

namespace {

std::unique_ptr<nn::Embedding> make_table(const AddedTable& table, int64_t dim, io::WeightSource& source,
                                          const at::TensorOptions& options) {
  return table.name.empty() ? nullptr : std::make_unique<nn::Embedding>(table.name, table.num, dim, source, options);
}

/// The rows of words, types and positions, summed and normed.
class SummedEmbeddings : public TokenEmbeddings {
 public:
  SummedEmbeddings(const TransformerOptions& body, const EncoderEmbeddings& embeddings, io::WeightSource& source,
                   const at::TensorOptions& options)
      : TokenEmbeddings(body.names.embedding, body.vocab_size, body.hidden_size, source, options),
        pad_id_(embeddings.pad_id),
        positions_skip_pads_(embeddings.pad_id && embeddings.positions_skip_pads),
        types_(make_table(embeddings.types, body.hidden_size, source, options)),
        positions_(make_table(embeddings.positions, body.hidden_size, source, options)),
        norm_(embeddings.norm, nn::LayerNorm::Shape{body.hidden_size, embeddings.eps, embeddings.norm_bias}, source, options) {}

  Tensor forward(const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;

 private:
  void require_positions(const nn::BatchLayout& layout) const;
  Tensor positions(const nn::Batch& batch) const;
  /// The rows; those of padding have no gradient.
  Tensor but_pads(const Tensor& x_TD, const nn::Batch& batch) const;

  std::optional<int64_t> pad_id_;
  bool positions_skip_pads_;
  std::unique_ptr<nn::Embedding> types_, positions_;  ///< null: none
  nn::LayerNorm norm_;
};

std::vector<nn::Host*> SummedEmbeddings::hosts() {
  std::vector<nn::Host*> all = TokenEmbeddings::hosts();
  all.insert(all.end(), {positions_.get(), types_.get(), &norm_});
  std::erase(all, nullptr);
  return all;
}

Tensor SummedEmbeddings::forward(const nn::Pass& pass) const {
  Tensor x_TD = but_pads(TokenEmbeddings::forward(pass), pass.batch());
  if (types_ != nullptr) {
    const std::optional<Tensor>& segments_T = pass.batch().tokens().segments_T;
    // A model with only one type is given no other, as with its tokenizer in transformers.
    const bool has_types = segments_T && types_->num_tokens() > 1;
    x_TD = x_TD + types_->forward(has_types ? *segments_T : at::zeros_like(pass.batch().tokens().ids_T));
  }
  if (positions_ != nullptr) {
    require_positions(pass.layout());
    const Tensor rows_TD = positions_->forward(positions(pass.batch()));
    x_TD = x_TD + (positions_skip_pads_ ? but_pads(rows_TD, pass.batch()) : rows_TD);
  }
  return norm_.forward(x_TD);
}

Tensor SummedEmbeddings::but_pads(const Tensor& x_TD, const nn::Batch& batch) const {
  return pad_id_ && x_TD.requires_grad() ? at::where(batch.tokens().ids_T.eq(*pad_id_).unsqueeze(1), x_TD.detach(), x_TD) : x_TD;
}

Tensor SummedEmbeddings::positions(const nn::Batch& batch) const {
  if (!positions_skip_pads_) {
    return batch.layout.positions_T;
  }
  if (virtual_tokens().virtual_tokens() > 0) {  // transformers then has no ids that it could compare with padding's
    return batch.layout.positions_T + *pad_id_ + 1;
  }
  const Tensor is_token_T = batch.tokens().ids_T.ne(*pad_id_).to(at::kLong);
  const Tensor before_T = is_token_T.cumsum(0) - is_token_T;  // number of non-padding tokens before each token, over all documents
  const Tensor begins_D = batch.layout.offsets.slice(0, 0, -1).to(at::kLong), lengths_D = batch.layout.offsets.diff().to(at::kLong);
  const Tensor of_others_T = before_T.index_select(0, begins_D).repeat_interleave(lengths_D);
  return (before_T - of_others_T + 1 + batch.layout.prefix_length) * is_token_T + *pad_id_;
}

void SummedEmbeddings::require_positions(const nn::BatchLayout& layout) const {
  const int64_t most = positions_->num_tokens() - (positions_skip_pads_ ? *pad_id_ + 1 : 0);
  const int64_t longest = layout.prefix_length + layout.max_document;
  if (longest > most) {
    data_error("model", "a document has more tokens than the model has positions: found " + std::to_string(longest) +
                            " tokens, expected at most " + std::to_string(most) + " (max_position_embeddings). Lower data.max_length.");
  }
}

}  // namespace

std::unique_ptr<nn::Model> make_encoder(const TransformerOptions& body, const EncoderEmbeddings& embeddings, const MakeNorm& make_norm,
                                        const MakeLayer& make_layer, io::WeightSource& source, const at::TensorOptions& options) {
  auto model = std::make_unique<nn::Model>();
  model->body = std::make_unique<Transformer>(body, std::make_unique<SummedEmbeddings>(body, embeddings, source, options), make_norm,
                                              make_layer);
  return model;
}

}  // namespace lora::models
