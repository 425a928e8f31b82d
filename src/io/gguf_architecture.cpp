// Names and layouts as in llama.cpp's converter (gguf-py/gguf/tensor_mapping.py, convert_hf_to_gguf.py).
#include "lora/io/gguf_architecture.h"

#include <algorithm>
#include <array>
#include <optional>

#include "lora/base/error.h"

namespace lora::io {

namespace {

using enum GgufRows;

// Of most families.
constexpr GgufModule kEmbedding{"model.embed_tokens", "token_embd"};
constexpr GgufModule kNorm{"model.norm", "output_norm"};
constexpr GgufModule kHead{"lm_head", "output"};
constexpr GgufModule kAttentionNorm{"model.layers.{}.input_layernorm", "blk.{}.attn_norm"};
constexpr GgufModule kMlpNorm{"model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"};
constexpr GgufModule kQuery{"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", kSame, true};
constexpr GgufModule kKey{"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", kSame, true};
constexpr GgufModule kPairedQuery{"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", kPairs, true};
constexpr GgufModule kPairedKey{"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", kKeyPairs, true};
constexpr GgufModule kValue{"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", kSame, true};
constexpr GgufModule kOutput{"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", kSame, true};
constexpr GgufModule kQueryNorm{"model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"};
constexpr GgufModule kKeyNorm{"model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"};
constexpr GgufModule kGate{"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", kSame, true};
constexpr GgufModule kUp{"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", kSame, true};
constexpr GgufModule kDown{"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", kSame, true};
constexpr GgufModule kNormAfterAttention{"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"};
constexpr GgufModule kNormAfterMlp{"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"};
constexpr GgufModule kNormBeforeMlp{"model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm"};

constexpr std::array kLlama{kEmbedding, kNorm,  kHead,   kAttentionNorm, kMlpNorm, kPairedQuery,
                            kPairedKey, kValue, kOutput, kGate,          kUp,      kDown};
constexpr std::array kQwen2{kEmbedding, kNorm, kHead, kAttentionNorm, kMlpNorm, kQuery, kKey, kValue, kOutput, kGate, kUp, kDown};
constexpr std::array kQwen3{kEmbedding, kNorm,   kHead,      kAttentionNorm, kMlpNorm, kQuery, kKey,
                            kValue,     kOutput, kQueryNorm, kKeyNorm,       kGate,    kUp,    kDown};
constexpr std::array kQwen3Moe{kEmbedding,
                               kNorm,
                               kHead,
                               kAttentionNorm,
                               kMlpNorm,
                               kQuery,
                               kKey,
                               kValue,
                               kOutput,
                               kQueryNorm,
                               kKeyNorm,
                               GgufModule{"model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"},
                               GgufModule{"model.layers.{}.mlp.experts.{e}.gate_proj", "blk.{}.ffn_gate_exps", kSame, true},
                               GgufModule{"model.layers.{}.mlp.experts.{e}.up_proj", "blk.{}.ffn_up_exps", kSame, true},
                               GgufModule{"model.layers.{}.mlp.experts.{e}.down_proj", "blk.{}.ffn_down_exps", kSame, true}};
constexpr std::array kPhi3{kEmbedding, kNorm,
                           kHead,      kAttentionNorm,
                           kMlpNorm,   GgufModule{"model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv", kSame, true},
                           kOutput,    GgufModule{"model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up", kSame, true},
                           kDown};
constexpr std::array kGemma2{kEmbedding,     kNorm,         kHead,  kAttentionNorm, kNormAfterAttention,
                             kNormBeforeMlp, kNormAfterMlp, kQuery, kKey,           kValue,
                             kOutput,        kGate,         kUp,    kDown};
constexpr std::array kGemma3{kEmbedding, kNorm, kHead,  kAttentionNorm, kNormAfterAttention, kNormBeforeMlp, kNormAfterMlp,
                             kQuery,     kKey,  kValue, kOutput,        kQueryNorm,          kKeyNorm,       kGate,
                             kUp,        kDown};
constexpr std::array kOlmo2{
    kEmbedding, kNorm, kHead, kNormAfterAttention, kNormAfterMlp, kQuery, kKey, kValue, kOutput, kQueryNorm, kKeyNorm, kGate, kUp, kDown};
constexpr std::array kStablelm{kEmbedding,
                               kNorm,
                               kHead,
                               kAttentionNorm,
                               kMlpNorm,
                               kQuery,
                               kKey,
                               kValue,
                               kOutput,
                               GgufModule{"model.layers.{}.self_attn.q_layernorm.norms.{e}", "blk.{}.attn_q_norm"},
                               GgufModule{"model.layers.{}.self_attn.k_layernorm.norms.{e}", "blk.{}.attn_k_norm"},
                               kGate,
                               kUp,
                               kDown};
constexpr std::array kGpt2{GgufModule{"transformer.wte", "token_embd"},
                           GgufModule{"transformer.wpe", "position_embd"},
                           GgufModule{"transformer.ln_f", "output_norm"},
                           kHead,
                           GgufModule{"transformer.h.{}.ln_1", "blk.{}.attn_norm"},
                           GgufModule{"transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv", kSame, true},
                           GgufModule{"transformer.h.{}.attn.c_proj", "blk.{}.attn_output", kSame, true},
                           GgufModule{"transformer.h.{}.ln_2", "blk.{}.ffn_norm"},
                           GgufModule{"transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up", kSame, true},
                           GgufModule{"transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down", kSame, true}};
constexpr std::array kGptNeox{GgufModule{"gpt_neox.embed_in", "token_embd"},
                              GgufModule{"gpt_neox.final_layer_norm", "output_norm"},
                              GgufModule{"embed_out", "output"},
                              GgufModule{"gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"},
                              GgufModule{"gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv", kFused, true},
                              GgufModule{"gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output", kSame, true},
                              GgufModule{"gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
                              GgufModule{"gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up", kSame, true},
                              GgufModule{"gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down", kSame, true}};
// The norm of the MLP is that of the whole block where there is no second one (see gguf_checkpoint).
constexpr std::array kFalcon{GgufModule{"transformer.word_embeddings", "token_embd"},
                             GgufModule{"transformer.ln_f", "output_norm"},
                             kHead,
                             GgufModule{"transformer.h.{}.input_layernorm", "blk.{}.attn_norm"},
                             GgufModule{"transformer.h.{}.ln_attn", "blk.{}.attn_norm_2"},
                             GgufModule{"transformer.h.{}.self_attention.query_key_value", "blk.{}.attn_qkv", kFused, true},
                             GgufModule{"transformer.h.{}.self_attention.dense", "blk.{}.attn_output", kSame, true},
                             GgufModule{"transformer.h.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up", kSame, true},
                             GgufModule{"transformer.h.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down", kSame, true}};

constexpr std::array<GgufArchitecture, 15> kArchitectures{{
    {"llama", "llama", kLlama},  // files of Mistral's models are read as Llama's, which compute the same
    {"qwen2", "qwen2", kQwen2},
    {"qwen3", "qwen3", kQwen3},
    {"qwen3moe", "qwen3_moe", kQwen3Moe},
    {"phi3", "phi3", kPhi3},
    {"gemma", "gemma", kQwen2, /*stores_norms_plus_one=*/true},
    {"gemma2", "gemma2", kGemma2, /*stores_norms_plus_one=*/true},
    {"gemma3", "gemma3_text", kGemma3, /*stores_norms_plus_one=*/true},
    {"gpt2", "gpt2", kGpt2, false, /*inputs_first=*/true},
    {"gptneox", "gpt_neox", kGptNeox},
    {"falcon", "falcon", kFalcon},
    {"stablelm", "stablelm", kStablelm},
    {"olmo2", "olmo2", kOlmo2},
    {"smollm3", "smollm3", kLlama},
    {"llama", "mistral", kLlama},
}};

/// The layer in a name of this pattern: "" if there is none to be filled in; none if the name does not fit.
std::optional<std::string> layer_in(std::string_view pattern, std::string_view name) {
  const size_t place = pattern.find("{}");
  if (place == std::string_view::npos) {
    return pattern == name ? std::optional<std::string>("") : std::nullopt;
  }
  const std::string_view before = pattern.substr(0, place), after = pattern.substr(place + 2);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) {
    return std::nullopt;
  }
  const std::string_view layer = name.substr(before.size(), name.size() - before.size() - after.size());
  const bool is_number = layer.size() < 8 && layer.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? std::optional(std::string(layer)) : std::nullopt;
}

std::string filled_in(std::string_view pattern, const std::string& layer) {
  std::string name(pattern);
  const size_t place = name.find("{}");
  return place == std::string::npos ? name : name.replace(place, 2, layer);
}

GgufName find_name(const GgufArchitecture& architecture, const std::string& module, std::string_view GgufModule::*from,
                   std::string_view GgufModule::*to) {
  for (const GgufModule& kind : architecture.modules) {
    if (const std::optional<std::string> layer = layer_in(kind.*from, module)) {
      return {&kind, *layer, filled_in(kind.*to, *layer)};
    }
  }
  return {};
}

std::vector<int64_t> paired_rows(int64_t heads, int64_t count) {
  const int64_t half = count / heads / 2;
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(count));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t part = 0; part < 2; ++part) {
      for (int64_t i = 0; i < half; ++i) {
        rows.push_back((head * half + i) * 2 + part);
      }
    }
  }
  return rows;
}

std::vector<int64_t> fused_rows(const GgufHeads& sizes, int64_t count) {
  const int64_t dim = count / (sizes.heads + 2 * sizes.key_heads), queries = sizes.heads / sizes.key_heads;
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(count));
  const auto add_head = [&](int64_t head) {
    for (int64_t i = 0; i < dim; ++i) {
      rows.push_back(head * dim + i);
    }
  };
  for (int64_t group = 0; group < sizes.key_heads; ++group) {
    for (int64_t query = 0; query < queries; ++query) {
      add_head(group * queries + query);
    }
    add_head(sizes.heads + group);
    add_head(sizes.heads + sizes.key_heads + group);
  }
  return rows;
}

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() {
  return kArchitectures;
}

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  const auto found = std::find_if(kArchitectures.begin(), kArchitectures.end(), [name](const auto& entry) { return name == entry.name; });
  return found == kArchitectures.end() ? nullptr : &*found;
}

const GgufArchitecture* gguf_architecture_of(std::string_view model_type) {
  const auto found = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                  [model_type](const auto& entry) { return model_type == entry.model_type; });
  return found == kArchitectures.end() ? nullptr : &*found;
}

GgufName from_ggml_name(const GgufArchitecture& architecture, const std::string& module) {
  return find_name(architecture, module, &GgufModule::ggml, &GgufModule::transformers);
}

GgufName to_ggml_name(const GgufArchitecture& architecture, const std::string& module) {
  return find_name(architecture, module, &GgufModule::transformers, &GgufModule::ggml);
}

std::vector<int64_t> gguf_rows(GgufRows rows, const GgufHeads& sizes, int64_t count, const std::string& where) {
  if (rows == GgufRows::kSame) {
    return {};
  }
  const int64_t heads = rows == GgufRows::kKeyPairs ? sizes.key_heads : sizes.heads;
  const bool is_fused = rows == GgufRows::kFused;
  const int64_t parts = is_fused ? sizes.heads + 2 * sizes.key_heads : 2 * heads;
  if (heads < 1 || sizes.key_heads < 1 || count % parts != 0 || (is_fused && sizes.heads % sizes.key_heads != 0)) {
    model_error(where, "found " + std::to_string(count) + " rows, expected as many as can be divided among " + std::to_string(sizes.heads) +
                           " heads and " + std::to_string(sizes.key_heads) + " key-value heads");
  }
  return is_fused ? fused_rows(sizes, count) : paired_rows(heads, count);
}

}  // namespace lora::io
