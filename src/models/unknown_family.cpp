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

constexpr std::array<Relative, 36> kRelatives{{
    {"bitnet", "llama", "norms inside both blocks, relu squared and 1.58-bit weights"},
    {"cohere", "llama", "layer norms without biases, both blocks side by side, rotation by pairs and a factor of the logits"},
    {"cohere2", "llama", "layer norms without biases, both blocks side by side, rotation by pairs, windows and a factor of the logits"},
    {"deepseek_v2", "llama", "latent attention (keys and values of low rank) and a mixture of experts"},
    {"deepseek_v3", "llama", "latent attention (keys and values of low rank) and a mixture of experts"},
    {"ernie4_5", "llama", "rotation by pairs"},
    {"falcon_h1", "llama", "Mamba 2 next to attention, and factors of most projections"},
    {"gemma3", "gemma3_text", "the image encoder; its text part by itself is model_type gemma3_text"},
    {"gemma3n", "gemma3_text", "embeddings per layer, shared keys and values, and its alternating residual streams"},
    {"gemma4", "gemma3_text",
     "the image and audio encoders, a second head size, values that are keys, shared keys and values, inputs per layer, and proportional "
     "rotation"},
    {"gemma4_unified", "gemma3_text", "a second head size, values that are keys, and proportional rotation"},
    {"glm", "phi3", "rotation by pairs and biases of queries, keys and values"},
    {"glm4", "phi3", "rotation by pairs, norms after both blocks and biases of queries, keys and values"},
    {"glm4_moe", "llama", "a mixture of experts with a sigmoid router and a shared one"},
    {"glm4_moe_lite", "llama", "latent attention (keys and values of low rank) and a mixture of experts"},
    {"gpt_oss", "mistral", "a mixture of experts with a clamped gate, and attention sinks"},
    {"granitemoe", "granite", "a mixture of experts"},
    {"granitemoehybrid", "granite", "a mixture of experts and Mamba 2 layers"},
    {"internlm2", "llama", "one projection for queries, keys and values, grouped by key head"},
    {"lfm2", "llama", "convolutions in place of attention in most layers"},
    {"lfm2_moe", "llama", "convolutions in place of attention in most layers, and a mixture of experts"},
    {"llama4", "llama", "a mixture of experts, chunked attention and scaled queries"},
    {"llama4_text", "llama", "a mixture of experts, chunked attention and scaled queries"},
    {"mistral3", "mistral", "the image encoder; its text part by itself is model_type mistral or ministral3"},
    {"mistral4", "llama", "latent attention (keys and values of low rank), a mixture of experts and a factor of the queries"},
    {"muse_glimmer", "gemma3_text", "the image encoder, a gate of the attention's output and a factor of the logits"},
    {"nemotron_h", "nemotron", "Mamba 2 layers and a mixture of experts"},
    {"olmo", "llama", "layer norms without weights and clipped queries, keys and values"},
    {"qwen2_5_vl", "qwen2", "the image encoder and rotary positions of three kinds"},
    {"qwen2_moe", "qwen2", "a mixture of experts with a shared one"},
    {"qwen3_5", "qwen3", "the image encoder, gated linear attention and a gate of the attention's output"},
    {"qwen3_5_moe", "qwen3_moe", "the image encoder, gated linear attention and a shared expert"},
    {"qwen3_next", "qwen3", "gated linear attention and a mixture of experts"},
    {"qwen3_vl", "qwen3", "the image encoder and rotary positions of three kinds"},
    {"t5", "bert", "an encoder and a decoder with attention between them, and learned biases of the scores"},
    {"whisper", "bert", "spectra of sound as input, and a decoder"},
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
