#pragma once
#include <cctype>
#include <map>
#include <string>

#include "lora/peft/adapter.h"
#include "small_model.h"
#include "support/gguf_file.h"

namespace lora::test {

/// transformers' names of Llama's modules by the names in GGUF files.
inline std::string module_of_ggml(const std::string& name) {
  static const std::map<std::string, std::string> kNames{
      {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"}, {"attn_v", "self_attn.v_proj"},
      {"attn_output", "self_attn.o_proj"}, {"ffn_gate", "mlp.gate_proj"},   {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"}};
  if (name == "token_embd" || name == "output") {
    return name == "output" ? "lm_head" : "model.embed_tokens";
  }
  const size_t dot = name.find('.', 4);  // "blk.0.attn_q"
  return "model.layers." + name.substr(4, dot - 4) + "." + kNames.at(name.substr(dot + 1));
}

/// The rows of each head as transformers has them, from llama.cpp's pairs.
inline at::Tensor rows_of_halves(const at::Tensor& B_OR, int64_t heads) {
  return B_OR.view({heads, B_OR.size(0) / heads / 2, 2, B_OR.size(1)}).transpose(1, 2).reshape(B_OR.sizes());
}

/// Writes the adapter of a GGUF file, as llama.cpp computes with it, as a PEFT folder.
inline void write_peft_from_gguf(const std::filesystem::path& file, const std::filesystem::path& base,
                                 const std::filesystem::path& folder) {
  const GgufFile gguf(file);
  const Json config = read_json(base / "config.json", ErrorKind::kModel);
  peft::Adapter adapter;
  for (const std::string& name : gguf.names) {
    constexpr std::string_view kEnd = ".weight.lora_a";
    if (!name.ends_with(kEnd)) {
      continue;
    }
    const std::string ggml = name.substr(0, name.size() - kEnd.size());
    peft::LowRankUpdate update;
    update.module = module_of_ggml(ggml);
    update.kind = ggml == "token_embd" ? peft::PairKind::kEmbedding : peft::PairKind::kLinear;
    const at::Tensor a = gguf.tensor(name);
    const at::Tensor b = gguf.tensor(ggml + ".weight.lora_b");
    const char* const heads = ggml.ends_with("attn_q") ? "num_attention_heads" : ggml.ends_with("attn_k") ? "num_key_value_heads" : nullptr;
    update.A_RI = update.is_embedding() ? a.t().contiguous() : a;
    update.B_OR = heads == nullptr ? b : rows_of_halves(b, config[heads].get<int64_t>());
    update.alpha = gguf.floats.at("adapter.lora.alpha");
    update.scale = update.alpha / static_cast<double>(update.rank());
    adapter.updates.push_back(update);
  }
  std::filesystem::create_directories(folder);
  peft::write_adapter(folder, adapter, "base");
}

}  // namespace lora::test
