// T tokens, N documents, D hidden size, F intermediate size, P channels of the projection, H heads, E head size.
#include "diffusion/clip_text.h"

#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/config_sizes.h"
#include "lora/base/error.h"
#include "lora/nn/activation.h"
#include "lora/ops/gated_activation.h"

namespace lora::diffusion {

namespace {

constexpr const char* kPrefix = "text_model.";

/// The activation of OpenAI's models, x · sigmoid(1.702 x), and those of ACT2FN.
Tensor activated(const std::string& name, const Tensor& x) {
  return name == "quick_gelu" ? x * at::sigmoid(1.702 * x) : ops::activation(nn::find_activation(name, "hidden_act"), x);
}

}  // namespace

ClipTextConfig read_clip_text_config(const JsonReader& config) {
  ClipTextConfig c{.vocab_size = config_size(config, "vocab_size", 49408),
                   .hidden_size = config_size(config, "hidden_size", 512),
                   .intermediate_size = config_size(config, "intermediate_size", 2048),
                   .num_layers = config_size(config, "num_hidden_layers", 12),
                   .num_heads = config_size(config, "num_attention_heads", 8),
                   .num_positions = config_size(config, "max_position_embeddings", 77),
                   .projection_dim = config_size(config, "projection_dim", 512),
                   .eos_token_id = config.integer("eos_token_id", 49407),
                   .hidden_act = config.string("hidden_act", "quick_gelu"),
                   .layer_norm_eps = config.number("layer_norm_eps", 1e-5),
                   .attention_dropout = config.number("attention_dropout", 0.0)};
  if (c.hidden_size % c.num_heads != 0) {
    config.fail("num_attention_heads", "a divisor of the hidden size (" + std::to_string(c.hidden_size) + ")");
  }
  if (!(c.layer_norm_eps > 0)) {
    config.fail("layer_norm_eps", "a positive number");
  }
  if (!(c.attention_dropout >= 0 && c.attention_dropout < 1)) {
    config.fail("attention_dropout", "a number from 0 to below 1");
  }
  if (c.hidden_act != "quick_gelu") {
    nn::find_activation(c.hidden_act, config.where() + ": hidden_act");
  }
  return c;
}

/// x += attention(norm(x)), then x += mlp(norm(x)).
class ClipText::Layer {
 public:
  Layer(const std::string& name, int64_t index, const ClipTextConfig& c, io::WeightSource& source, const at::TensorOptions& options)
      : activation_(c.hidden_act),
        head_dim_(c.hidden_size / c.num_heads),
        k_(name + ".self_attn.k_proj", {c.hidden_size, c.hidden_size, true}, source, options),
        v_(name + ".self_attn.v_proj", {c.hidden_size, c.hidden_size, true}, source, options),
        q_(name + ".self_attn.q_proj", {c.hidden_size, c.hidden_size, true}, source, options),
        out_(name + ".self_attn.out_proj", {c.hidden_size, c.hidden_size, true}, source, options),
        norm1_(name + ".layer_norm1", {c.hidden_size, c.layer_norm_eps}, source, options),
        fc1_(name + ".mlp.fc1", {c.hidden_size, c.intermediate_size, true}, source, options),
        fc2_(name + ".mlp.fc2", {c.intermediate_size, c.hidden_size, true}, source, options),
        norm2_(name + ".layer_norm2", {c.hidden_size, c.layer_norm_eps}, source, options),
        attention_(name + ".self_attn", index, {c.num_heads, c.num_heads, head_dim_},
                   {.scale = 1.0 / std::sqrt(static_cast<double>(head_dim_)), .causal = true}, c.attention_dropout) {}

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const {
    const std::vector<Tensor> qkv = nn::project(norm1_.forward(x_TD), {&q_, &k_, &v_}, pass);
    const auto by_head = [this](const Tensor& y_TD) { return y_TD.unflatten(1, {-1, head_dim_}); };
    const Tensor heads_THE = attention_.forward(by_head(qkv[0]), by_head(qkv[1]), by_head(qkv[2]), pass);
    const Tensor attended_TD = x_TD + out_.forward(heads_THE.flatten(1), pass);
    const Tensor inner_TF = activated(activation_, fc1_.forward(norm2_.forward(attended_TD), pass));
    return attended_TD + fc2_.forward(inner_TF, pass);
  }

  /// In transformers' order.
  std::vector<nn::Host*> hosts() { return {&k_, &v_, &q_, &out_, &norm1_, &fc1_, &fc2_, &norm2_}; }
  bool is_trained() const {
    return k_.is_trained() || v_.is_trained() || q_.is_trained() || out_.is_trained() || norm1_.is_trained() || fc1_.is_trained() ||
           fc2_.is_trained() || norm2_.is_trained();
  }
  nn::LayerMemory memory() const {
    return {.attention = norm1_.kept() + nn::kept_by_project({&q_, &k_, &v_}) + attention_.kept() +
                         nn::kept_by_project({&out_}, /*is_kept=*/true),
            .feed_forward = norm2_.kept() + nn::kept_by_project({&fc1_}) + nn::Kept{2 * fc1_.out_features(), 0} +
                            nn::kept_by_project({&fc2_}),
            .working = 3 * fc1_.out_features(),
            .per_document = attention_.kept_per_document()};
  }

 private:
  std::string activation_;
  int64_t head_dim_;
  nn::Linear k_, v_, q_, out_;
  nn::LayerNorm norm1_;
  nn::Linear fc1_, fc2_;
  nn::LayerNorm norm2_;
  nn::Attention attention_;
};

ClipText::ClipText(const ClipTextConfig& config, bool with_projection, io::WeightSource& source, const at::TensorOptions& options)
    : config_(config),
      tokens_(std::string(kPrefix) + "embeddings.token_embedding", config.vocab_size, config.hidden_size, source, options),
      positions_(std::string(kPrefix) + "embeddings.position_embedding", config.num_positions, config.hidden_size, source, options),
      final_norm_(std::string(kPrefix) + "final_layer_norm", {config.hidden_size, config.layer_norm_eps}, source, options),
      hosts_{&tokens_, &positions_} {
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string name = std::string(kPrefix) + "encoder.layers." + std::to_string(i);
    layers_.push_back(std::make_unique<Layer>(name, i, config, source, options));
    const std::vector<nn::Host*> own = layers_.back()->hosts();
    hosts_.insert(hosts_.end(), own.begin(), own.end());
  }
  hosts_.push_back(&final_norm_);
  if (with_projection) {
    const nn::LinearShape shape{config.hidden_size, config.projection_dim};
    projection_ = std::make_unique<nn::Linear>("text_projection", shape, source, options);
    hosts_.push_back(projection_.get());
  }
}

ClipText::~ClipText() = default;

ClipStates ClipText::states(const nn::Pass& pass, const ClipRequest& request) const {
  const nn::BatchLayout& layout = pass.layout();
  const int64_t num_documents = layout.num_documents();
  const int64_t length = num_documents == 0 ? 0 : layout.num_tokens() / num_documents;
  if (length > config_.num_positions || length * num_documents != layout.num_tokens() || layout.max_document != length) {
    data_error("text encoder", "found a text of " + std::to_string(layout.max_document) + " tokens, expected texts of one length, of " +
                                   std::to_string(config_.num_positions) + " tokens at most (max_position_embeddings)");
  }
  ClipStates states;
  const int64_t num_asked = config_.num_layers - request.skip;
  Tensor x_TD = tokens_.forward(pass.batch().tokens().ids_T) + positions_.forward(layout.positions_T);
  for (int64_t i = 0; i < (request.pooled ? config_.num_layers : num_asked); ++i) {
    states.skipped_TD = i == num_asked ? x_TD : states.skipped_TD;
    const auto layer = [&layer = *layers_[static_cast<size_t>(i)]](const Tensor& x_TD, const nn::Pass& pass) {
      return layer.forward(x_TD, pass);
    };
    x_TD = nn::recomputed(x_TD, pass, nn::Recompute::kLayers, layer);
  }
  states.skipped_TD = states.skipped_TD.defined() ? states.skipped_TD : x_TD;
  states.pooled_NP = request.pooled ? pooled(x_TD, pass) : Tensor();
  return states;
}

/// Published configs say 2 for the end's id, which is not the tokenizer's: transformers then takes the place of the largest id.
Tensor ClipText::pooled(const Tensor& x_TD, const nn::Pass& pass) const {
  constexpr int64_t kWrongEos = 2;
  const int64_t num_documents = pass.layout().num_documents();
  const Tensor ids_NL = pass.batch().tokens().ids_T.view({num_documents, -1});
  const Tensor place_N = config_.eos_token_id == kWrongEos ? ids_NL.argmax(1) : ids_NL.eq(config_.eos_token_id).to(at::kInt).argmax(1);
  const Tensor rows_N = place_N + ids_NL.size(1) * at::arange(num_documents, place_N.options());
  const Tensor state_ND = final_norm_.forward(x_TD.index_select(0, rows_N));
  if (projection_ == nullptr) {
    return state_ND;
  }
  const Tensor keys_N = pass.training() ? pass.row_keys_T.index_select(0, rows_N) : Tensor();
  return projection_->forward(state_ND, pass.of_rows(keys_N));
}

std::vector<nn::Parameter> ClipText::base_parameters() const {
  return nn::base_parameters_of(hosts_);
}

nn::PassMemory ClipText::pass_memory(nn::Recompute recompute) const {
  const std::vector<nn::LayerMemory> layers = nn::layer_memories(layers_, tokens_.is_trained() || positions_.is_trained());
  return nn::pass_memory_of(layers, {config_.hidden_size, dtype(), {}, final_norm_.kept()}, recompute);
}

}  // namespace lora::diffusion
