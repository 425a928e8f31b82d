#include "models/unknown_family.h"

#include <array>

#include "lora/base/text.h"

namespace lora::models {

namespace {

/// A published family that is not supported.
struct Relative {
  const char* model_type;
  const char* nearest;
  const char* to_add;
};

constexpr std::array<Relative, 32> kRelatives{{
    {"arcee", "llama", "a feed-forward block without a gate, of relu squared"},
    {"bitnet", "llama", "norms inside both blocks, relu squared and 1.58-bit weights"},
    {"cohere", "llama", "layer norms without biases, both blocks side by side, rotation by pairs and a factor of the logits"},
    {"cohere2", "llama", "layer norms without biases, both blocks side by side, rotation by pairs, windows and a factor of the logits"},
    {"deepseek_v2", "llama", "latent attention (keys and values of low rank) and a mixture of experts"},
    {"deepseek_v3", "llama", "latent attention (keys and values of low rank) and a mixture of experts"},
    {"ernie4_5", "llama", "rotation by pairs"},
    {"exaone4", "olmo2", "norms of queries and keys head by head, and windows with layers without rotation"},
    {"gemma3", "gemma3_text", "the image encoder; its text part by itself is model_type gemma3_text"},
    {"gemma3n", "gemma3_text", "embeddings per layer, shared keys and values, and its alternating residual streams"},
    {"gemma4", "gemma3_text", "the image and audio encoders and a second head size"},
    {"glm", "phi3", "rotation by pairs and biases of queries, keys and values"},
    {"glm4", "phi3", "rotation by pairs, norms after both blocks and biases of queries, keys and values"},
    {"gpt_oss", "mistral", "a mixture of experts with a clamped gate, and attention sinks"},
    {"granite", "llama", "factors of the embeddings, scores, residuals and logits"},
    {"granitemoe", "llama", "factors of the embeddings, scores, residuals and logits, and a mixture of experts"},
    {"helium", "llama", "rotation by pairs"},
    {"internlm2", "llama", "one projection for queries, keys and values, grouped by key head"},
    {"internlm3", "llama", "separate switches for the biases of q, k, v and of o"},
    {"llama4", "llama", "a mixture of experts, chunked attention and scaled queries"},
    {"llama4_text", "llama", "a mixture of experts, chunked attention and scaled queries"},
    {"ministral", "mistral", "windows by layer_types"},
    {"mistral3", "mistral", "the image encoder; its text part by itself is model_type mistral"},
    {"nemotron", "llama", "layer norms of 1 + w, a feed-forward block without a gate, of relu squared, and partial rotation"},
    {"olmo", "llama", "layer norms without weights and clipped queries, keys and values"},
    {"olmo3", "olmo2", "windows by layer_types, with rotary scaling only in the other layers"},
    {"phi", "phi3", "layer norms, biases, separate projections, both blocks side by side and a feed-forward block without a gate"},
    {"qwen2_5_vl", "qwen2", "the image encoder and rotary positions of three kinds"},
    {"qwen2_moe", "qwen2", "a mixture of experts with a shared one"},
    {"qwen3_next", "qwen3", "gated linear attention and a mixture of experts"},
    {"seed_oss", "qwen2", "separate switches for the biases of q, k, v and of o"},
    {"starcoder2", "mistral", "layer norms, biases and a feed-forward block without a gate"},
}};

}  // namespace

std::string unknown_family_advice(const std::string& model_type, const std::vector<std::string>& known) {
  for (const Relative& relative : kRelatives) {
    if (model_type == relative.model_type) {
      return ". Nearest family: '" + std::string(relative.nearest) + "'; to be added to it: " + relative.to_add +
             " (docs/adding-a-model.md).";
    }
  }
  const std::string meant = did_you_mean(model_type, known);
  return meant.empty() ? ". See docs/adding-a-model.md for how to add a family." : meant;
}

}  // namespace lora::models
