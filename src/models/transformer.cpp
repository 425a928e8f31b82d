// T tokens, S needed tokens, D hidden size.
#include "models/transformer.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::models {

Transformer::Transformer(TransformerOptions options, std::unique_ptr<TokenEmbeddings> embeddings, const MakeNorm& make_norm,
                         const MakeLayer& make_layer)
    : options_(std::move(options)),
      embeddings_(std::move(embeddings)),
      embedding_dropout_(options_.names.embedding + ".dropout", options_.embedding_dropout),
      norm_(options_.names.norm.empty() ? nullptr : make_norm(options_.names.norm)),
      hosts_(embeddings_->hosts()) {
  for (const nn::RopeOptions& rope : options_.ropes) {
    ropes_.emplace_back(rope);
  }
  for (int64_t i = 0; i < options_.num_layers; ++i) {
    const std::string name = options_.names.layers + "." + std::to_string(i);
    layers_.push_back(std::make_unique<Layer>(name, options_.hidden_size, make_layer(name, i)));
    const std::vector<nn::Host*> hosts = layers_.back()->hosts();
    hosts_.insert(hosts_.end(), hosts.begin(), hosts.end());
  }
  if (norm_ != nullptr) {
    hosts_.push_back(norm_.get());
  }
}

Tensor Transformer::hidden(const nn::Pass& given) const {
  const nn::Pass pass = given.after_prefix(prefix_length());
  Tensor x_TD = embedding_dropout_.forward(embeddings_->forward(pass), pass);
  RopeSet ropes;
  for (const nn::Rope& rope : ropes_) {
    const at::ScalarType own = x_TD.scalar_type();
    ropes.push_back(rope.tables(pass.layout(), options_.wide_ropes ? at::promote_types(own, at::kFloat) : own));
  }
  nn::Pass all = pass;  // later layers see every token
  all.needed_S = Tensor();
  for (const auto& layer : layers_) {
    x_TD = nn::recomputed(x_TD, layer == layers_.back() ? pass : all, nn::Recompute::kLayers,
                          [&layer = *layer, ropes](const Tensor& x_TD, const nn::Pass& pass) { return layer.forward(x_TD, ropes, pass); });
  }
  return norm_ == nullptr ? x_TD : norm_->forward(x_TD);
}

/// No token sees another after the last attention, so its feed-forward block, three quarters of a layer, only gets the needed rows.
Tensor Transformer::hidden_of(const Tensor& rows_S, const nn::Pass& pass) const {
  if (layers_.empty() || nn::computes_all(rows_S.size(0), pass.layout().num_tokens())) {
    return Body::hidden_of(rows_S, pass);
  }
  nn::Pass narrowed = pass;
  narrowed.needed_S = rows_S;
  return hidden(narrowed);
}

int64_t Transformer::prefix_length() const {
  return layers_.empty() ? 0 : layers_.front()->attention().prefix_length();
}

bool Transformer::keeps_keys(int64_t cached, int64_t length) const {
  const int64_t before = prefix_length();
  const auto outgrown = [=](const nn::RopeOptions& rope) {
    return rope.kind == nn::RopeKind::kLongrope && before + cached <= rope.original_max_position_embeddings &&
           before + length > rope.original_max_position_embeddings;
  };
  return std::none_of(options_.ropes.begin(), options_.ropes.end(), outgrown);
}

std::vector<nn::Host*> Transformer::taps() {
  std::vector<nn::Host*> all{&embeddings_->virtual_tokens()};
  for (const auto& layer : layers_) {
    const std::vector<nn::Host*> own = layer->taps();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::vector<nn::Parameter> Transformer::base_parameters() const {
  return nn::base_parameters_of(hosts_);
}

nn::PassMemory Transformer::pass_memory(nn::Recompute recompute) const {
  nn::LayersMemory sizes{options_.hidden_size, dtype(), {}, norm_ == nullptr ? nn::Kept{} : norm_->kept()};
  for (const nn::RopeOptions& rope : options_.ropes) {
    sizes.shared += options_.wide_ropes ? nn::Kept{0, 2 * rope.dim} : nn::Kept{2 * rope.dim, 0};
  }
  const bool is_trained_before = embeddings_->table().is_trained() || embeddings_->virtual_tokens().is_trained();
  const std::vector<nn::LayerMemory> layers = nn::layer_memories(layers_, is_trained_before);
  nn::PassMemory memory = nn::pass_memory_of(layers, sizes, recompute);
  memory.kept_per_document += virtual_tokens() * memory.kept;
  memory.forward_per_document += virtual_tokens() * memory.forward;
  return memory;
}

}  // namespace lora::models
