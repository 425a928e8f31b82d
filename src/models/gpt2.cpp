// GPT-2 (Radford et al. 2019): learned positions, layer norm before each block, projections stored [in, out] (Conv1D).
// T tokens, D hidden size, H heads, E head size.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/families.h"
#include "models/fused_attention.h"
#include "models/mlp.h"

namespace lora::models {

namespace {

struct Gpt2Options {
  DecoderOptions decoder;
  FusedAttentionOptions attention;
  MlpOptions mlp;
  int64_t num_positions;
  double layer_norm_eps;
  double residual_dropout;
  bool scale_by_layer;  ///< scores are divided by the layer's number, counted from 1
};

/// The defaults of GPT2Config are those of the smallest model. As in transformers, other families' names take precedence over its own.
int64_t read_either(const JsonReader& config, const char* key, const char* general, int64_t fallback) {
  return read_size(config, general, read_size(config, key, fallback));
}

Gpt2Options read_gpt2_options(const JsonReader& config) {
  if (config.boolean("add_cross_attention", false)) {
    config.fail("add_cross_attention", "false: only plain decoders are supported");
  }
  Gpt2Options o{};
  const int64_t hidden_size = read_either(config, "n_embd", "hidden_size", 768);
  const int64_t num_heads = read_either(config, "n_head", "num_attention_heads", 12);
  if (hidden_size % num_heads != 0) {
    config.fail(config.has("n_head") ? "n_head" : "num_attention_heads",
                "a divisor of the hidden size (" + std::to_string(hidden_size) + ")");
  }
  const HeadSizes heads{num_heads, num_heads, hidden_size / num_heads};
  o.decoder.vocab_size = read_size(config, "vocab_size", 50257);
  o.decoder.hidden_size = hidden_size;
  o.decoder.num_layers = read_either(config, "n_layer", "num_hidden_layers", 12);
  o.decoder.tied_head = config.boolean("tie_word_embeddings", true);
  o.decoder.target_modules = {"c_attn"};
  o.decoder.names = {"transformer.wte", "transformer.h", "transformer.ln_f"};
  o.decoder.embedding_dropout = read_dropout(config, "embd_pdrop", 0.1);
  o.num_positions = read_either(config, "n_positions", "max_position_embeddings", 1024);

  const int64_t inner = read_size(config, "n_inner", 4 * hidden_size);
  const auto conv1d = [](int64_t in, int64_t out) { return nn::LinearShape{in, out, true, nn::WeightLayout::kInOut}; };
  const double scale = config.boolean("scale_attn_weights", true) ? 1.0 / std::sqrt(static_cast<double>(heads.head_dim)) : 1.0;
  o.attention = {.heads = heads,
                 .qkv = conv1d(hidden_size, 3 * hidden_size),
                 .out = conv1d(hidden_size, hidden_size),
                 .qkv_name = "c_attn",
                 .out_name = "c_proj",
                 .split = [heads](const Tensor& fused_TF) { return split_thirds(fused_TF, heads); },
                 .scores = {.scale = scale},
                 .dropout = read_dropout(config, "attn_pdrop", 0.1)};
  o.mlp = {conv1d(hidden_size, inner), conv1d(inner, hidden_size), "c_fc", "c_proj",
           nn::find_activation(config.string("activation_function", "gelu_new"), config.where() + ": activation_function")};
  o.layer_norm_eps = config.number("layer_norm_epsilon", 1e-5);
  o.residual_dropout = read_dropout(config, "resid_pdrop", 0.1);
  o.scale_by_layer = config.boolean("scale_attn_by_inverse_layer_idx", false);
  return o;
}

/// The rows of tokens and positions.
class PositionedEmbeddings : public TokenEmbeddings {
 public:
  PositionedEmbeddings(const Gpt2Options& o, io::WeightSource& source, const at::TensorOptions& options)
      : TokenEmbeddings(o.decoder.names.embedding, o.decoder.vocab_size, o.decoder.hidden_size, source, options),
        wpe_("transformer.wpe", o.num_positions, o.decoder.hidden_size, source, options) {}

  Tensor forward(const nn::Pass& pass) const override {
    int64_t longest = pass.layout().is_replayed ? pass.layout().max_document : 0;
    for (int64_t d = 0; d < pass.layout().num_documents(); ++d) {
      longest = std::max(longest, pass.layout().full_length(d));
    }
    if (longest > wpe_.num_tokens()) {
      data_error("model", "a document has more tokens than the model has positions: found " + std::to_string(longest) +
                              " tokens, expected at most " + std::to_string(wpe_.num_tokens()) +
                              " (n_positions). Lower data.max_length or --max-new-tokens.");
    }
    return TokenEmbeddings::forward(pass) + wpe_.forward(pass.layout().positions_T);
  }

  std::vector<nn::Host*> hosts() override {
    std::vector<nn::Host*> all = TokenEmbeddings::hosts();
    all.push_back(&wpe_);
    return all;
  }

 private:
  nn::Embedding wpe_;
};

}  // namespace

std::unique_ptr<nn::Model> make_gpt2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const Gpt2Options o = read_gpt2_options(config);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{o.decoder.hidden_size, o.layer_norm_eps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    FusedAttentionOptions attention = o.attention;
    attention.scores.scale /= o.scale_by_layer ? static_cast<double>(index + 1) : 1.0;
    return {.attention = std::make_unique<FusedAttention>(name + ".attn", index, attention, source, options),
            .feed_forward = std::make_unique<Mlp>(name + ".mlp", o.mlp, source, options),
            .norms = {.before_attention = norm(name + ".ln_1"), .before_feed_forward = norm(name + ".ln_2")},
            .dropouts = {{name + ".attn.resid_dropout", o.residual_dropout}, {name + ".mlp.dropout", o.residual_dropout}}};
  };
  return make_decoder(o.decoder, norm, layer, source, options, std::make_unique<PositionedEmbeddings>(o, source, options));
}

}  // namespace lora::models
