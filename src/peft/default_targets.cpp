#include "peft/default_targets.h"

#include <algorithm>
#include <array>

#include "lora/base/text.h"

namespace lora::peft {

namespace {

/// Each field is a list of words.
struct FamilyTargets {
  const char* family;
  const char* ia3;
  const char* ia3_feedforward;
  const char* ln_tuning;
  const char* adalora;
};

constexpr const char* kGemma2Norms =
    "input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm norm";
constexpr const char* kLlamaNorms = "input_layernorm post_attention_layernorm norm";

constexpr std::array<FamilyTargets, 14> kFamilyTargets{{
    {"bert", "key value output.dense", "output.dense", "", "query value"},
    {"falcon", "query_key_value dense_4h_to_h", "dense_4h_to_h", "input_layernorm post_attention_layernorm ln_f", ""},
    {"gemma", "q_proj v_proj down_proj", "down_proj", kLlamaNorms, "q_proj v_proj"},
    {"gemma2", "q_proj v_proj down_proj", "down_proj", kGemma2Norms, "q_proj v_proj"},
    {"gemma3_text", "q_proj v_proj down_proj", "down_proj", kGemma2Norms, "q_proj v_proj"},
    {"gpt2", "c_attn mlp.c_proj", "mlp.c_proj", "ln_1 ln_2 ln_f", "c_attn"},
    {"gpt_neox", "query_key_value dense_4h_to_h", "dense_4h_to_h", "", "query_key_value"},
    {"llama", "k_proj v_proj down_proj", "down_proj", kLlamaNorms, "q_proj v_proj"},
    {"mistral", "k_proj v_proj down_proj", "down_proj", kLlamaNorms, ""},
    {"mixtral", "k_proj v_proj w2", "w2", "", ""},
    {"phi", "q_proj v_proj fc2", "fc2", "input_layernorm final_layernorm", ""},
    {"qwen2", "q_proj v_proj down_proj", "down_proj", "post_attention_layernorm", "q_proj v_proj"},
    {"qwen3", "q_proj v_proj down_proj", "down_proj", "post_attention_layernorm", "q_proj v_proj"},
    {"roberta", "key value output.dense", "output.dense", "", "query key value dense"},
}};

std::vector<std::string> words_of(const char* list) {
  std::vector<std::string> words = split(list, ' ');
  std::erase(words, "");
  return words;
}

}  // namespace

DefaultTargets default_targets_of(const std::string& family) {
  const auto* const found =
      std::find_if(kFamilyTargets.begin(), kFamilyTargets.end(), [&](const FamilyTargets& known) { return known.family == family; });
  if (found == kFamilyTargets.end()) {
    return {};
  }
  return {words_of(found->ia3), words_of(found->ia3_feedforward), words_of(found->ln_tuning), words_of(found->adalora)};
}

}  // namespace lora::peft
