// T tokens, D hidden size.
#include "models/decoder.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::models {

Decoder::Decoder(DecoderOptions decoder, const MakeNorm& make_norm, const MakeLayer& make_layer, io::WeightSource& source,
                 const at::TensorOptions& options)
    : decoder_(std::move(decoder)),
      embedding_(decoder_.names.embedding, decoder_.vocab_size, decoder_.hidden_size, source, options),
      embedding_dropout_(decoder_.names.embedding + ".dropout", decoder_.embedding_dropout),
      norm_(decoder_.names.norm.empty() ? nullptr : make_norm(decoder_.names.norm)) {
  for (const nn::RopeOptions& rope : decoder_.ropes) {
    ropes_.emplace_back(rope);
  }
  hosts_.push_back(&embedding_);
  for (int64_t i = 0; i < decoder_.num_layers; ++i) {
    layers_.push_back(make_layer(decoder_.names.layers + "." + std::to_string(i), i));
    const std::vector<nn::Host*> hosts = layers_.back()->hosts();
    hosts_.insert(hosts_.end(), hosts.begin(), hosts.end());
  }
  if (norm_ != nullptr) {
    hosts_.push_back(norm_.get());
  }
  if (decoder_.names.head.empty()) {
    return;
  }
  if (decoder_.tied_head) {
    head_ = std::make_unique<nn::Linear>(decoder_.names.head, embedding_.weight());
  } else if (source.contains(decoder_.names.head + ".weight")) {
    head_ = std::make_unique<nn::Linear>(decoder_.names.head, nn::LinearShape{decoder_.hidden_size, decoder_.vocab_size}, source, options);
  }
}

std::vector<nn::Host*> Decoder::all_hosts() const {
  std::vector<nn::Host*> all = hosts_;
  if (sequence_head() != nullptr) {
    const std::vector<nn::Host*> own = sequence_head()->hosts();
    all.insert(all.end(), own.begin(), own.end());
  } else if (head_ != nullptr) {
    all.push_back(head_.get());
  }
  return all;
}

Tensor Decoder::embed(const nn::Pass& pass) const {
  const Tensor x_TD = embedding_.forward(pass.batch().tokens().ids_T);
  return decoder_.embedding_scale == 1.0 ? x_TD : x_TD * at::scalar_tensor(decoder_.embedding_scale, x_TD.options());
}

Tensor Decoder::hidden(const nn::Pass& pass) const {
  Tensor x_TD = embedding_dropout_.forward(embed(pass), pass);
  RopeSet ropes;
  for (const nn::Rope& rope : ropes_) {
    const at::ScalarType own = x_TD.scalar_type();
    ropes.push_back(rope.tables(pass.layout(), decoder_.wide_ropes ? at::promote_types(own, at::kFloat) : own));
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
Tensor Decoder::hidden_of(const Tensor& rows_S, const nn::Pass& pass) const {
  if (layers_.empty() || 4 * rows_S.size(0) > 3 * pass.layout().num_tokens()) {
    return Model::hidden_of(rows_S, pass);
  }
  nn::Pass narrowed = pass;
  narrowed.needed_S = rows_S;
  return hidden(narrowed);
}

std::optional<int64_t> Decoder::cache_limit() const {
  for (const nn::RopeOptions& rope : decoder_.ropes) {
    if (rope.kind == nn::RopeKind::kLongrope) {
      return rope.original_max_position_embeddings;
    }
  }
  return std::nullopt;
}

std::vector<nn::Parameter> Decoder::base_parameters() const {
  std::vector<nn::Parameter> all;
  for (const nn::Host* host : all_hosts()) {
    const std::vector<nn::Parameter> own = host->base_parameters();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

/// Nothing is kept below the first module that is trained.
size_t Decoder::first_layer_with_gradient() const {
  const auto trains = [](const nn::Host* host) { return host->is_trained(); };
  size_t first = 0;
  while (!embedding_.is_trained() && first < layers_.size()) {
    const std::vector<nn::Host*> hosts = layers_[first]->hosts();
    if (std::any_of(hosts.begin(), hosts.end(), trains)) {
      break;
    }
    ++first;
  }
  return first;
}

/// Backward goes from the last layer to the first and frees what it no longer needs: the peak is somewhere on the way.
nn::PassMemory Decoder::pass_memory(nn::Recompute recompute) const {
  const auto bytes = [this](const nn::Kept& kept) { return kept.bytes(dtype()); };
  const bool whole_layers = recompute == nn::Recompute::kLayers || recompute == nn::Recompute::kOffload;
  const nn::Kept input{decoder_.hidden_size, 0};
  const int64_t stream = 2 * bytes(input);  // the residual stream's gradient and what a block adds to it
  nn::Kept kept, tail = norm_ == nullptr ? nn::Kept{} : norm_->kept();
  for (const nn::RopeOptions& rope : decoder_.ropes) {
    kept += decoder_.wide_ropes ? nn::Kept{0, 2 * rope.dim} : nn::Kept{2 * rope.dim, 0};
  }
  int64_t most = 0, most_fed = 0, last_fed = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerMemory layer = layers_[i]->memory();
    const bool is_last = i + 1 == layers_.size(), has_gradient = i >= first_layer_with_gradient();
    const int64_t attention = bytes(layer.attention);
    const int64_t fed = bytes({layer.working, 0}) + stream;
    most_fed = std::max(most_fed, fed);
    last_fed = fed + (recompute == nn::Recompute::kNothing ? 0 : bytes(layer.feed_forward));
    if (whole_layers) {
      kept += recompute == nn::Recompute::kLayers || i < 4 ? input : nn::Kept{};  // offloaded inputs: some are still being copied
    } else {
      kept += has_gradient ? layer.attention : nn::Kept{};
    }
    const int64_t here = bytes(kept) + (whole_layers ? attention : 0);
    // The gradients of what attention keeps, and of the feed-forward block, which in the last layer only has the needed tokens.
    most = std::max({most, here + attention + stream, is_last ? 0 : here + bytes(layer.feed_forward) + fed});
    nn::Kept& of_the_block = is_last ? tail : kept;
    if (recompute == nn::Recompute::kFeedForward) {
      of_the_block += input;
    } else if (!whole_layers && has_gradient) {
      of_the_block += layer.feed_forward;
    }
  }
  constexpr int64_t kBatch = 4 * sizeof(int64_t);  // ids, positions, labels and keys of random numbers
  return {.kept = kBatch + bytes(kept),
          .tail = bytes(tail),
          .working = std::max<int64_t>(most - bytes(kept), 0),
          .tail_working = last_fed,
          .forward = kBatch + most_fed + stream};
}

}  // namespace lora::models
