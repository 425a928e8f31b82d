#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/ops/rms_norm.h"
#include "models/decoder.h"
#include "models/gated_mlp.h"
#include "models/self_attention.h"

namespace lora::models {

/// Which sides of its blocks a layer has norms on. The name of a norm says where it is relative to attention, so that the same name means
/// different places in the three forms.
enum class NormSides { kBefore, kAfter, kBoth };

/// Norms of queries and keys: none, over the channels of each head, or over those of all heads.
enum class QueryKeyNorm { kNone, kEachHead, kAllHeads };

/// In which respects layers differ from each other.
struct LayerAttention {
  std::optional<int64_t> window = std::nullopt;
  std::optional<size_t> rope = 0;  ///< which of the model's rotary embeddings; none: no positions
};

/// A decoder of Llama's relatives: layers with attention in `self_attn`, a gated MLP in `mlp`, and RMS norms.
struct LlamaLike {
  DecoderOptions decoder;
  SelfAttentionOptions attention;
  std::vector<LayerAttention> layers = {};  ///< empty: all have the window and rope of `attention`
  GatedMlpOptions mlp;
  /// Makes another feed-forward block than the gated MLP; null: none has one. Returns null for a layer that has the MLP.
  std::function<std::unique_ptr<FeedForward>(const std::string& name, int64_t layer)> other_block = nullptr;
  /// Makes the attention of every layer; null: `attention` with the norms below.
  std::function<std::unique_ptr<AttentionBlock>(const std::string& name, int64_t layer, const SelfAttentionOptions& attention)>
      other_attention = nullptr;
  /// Adds to a layer what the other families do not have; null: nothing. `name` is the layer's.
  std::function<void(const std::string& name, LayerParts& parts)> add_to_layer = nullptr;
  double norm_eps;
  ops::NormWeight norm_weight = ops::NormWeight::kPlain;
  NormSides norms = NormSides::kBefore;
  QueryKeyNorm query_key_norm = QueryKeyNorm::kNone;
};

/// What a family uses if config.json has no such key.
struct LlamaDefaults {
  HeadDefaults heads = {};
  double norm_eps = 1e-6;
  bool tied_head = false;
};

/// The keys that all of them have: sizes, heads, the tie, rms_norm_eps and attention_dropout. The scale of scores is 1/√head_dim. Ropes,
/// biases, windows, the MLP and default targets are left to the family.
LlamaLike read_llama_like(const JsonReader& config, const LlamaDefaults& defaults = {});

/// attention_bias, of all four projections; false by default.
void read_attention_bias(const JsonReader& config, SelfAttentionOptions& attention);

/// The window in those layers that slide, and none in the others.
std::vector<LayerAttention> windows_in(const std::vector<bool>& slides, std::optional<int64_t> window);

/// The same for Qwen 2 and 3: the window of use_sliding_window in layer_types, or from max_window_layers on.
std::vector<LayerAttention> read_upper_windows(const JsonReader& config, int64_t num_layers);

std::unique_ptr<nn::Model> make_llama_like(const LlamaLike& family, io::WeightSource& source, const at::TensorOptions& options);

}  // namespace lora::models
