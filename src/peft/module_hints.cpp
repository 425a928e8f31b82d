#include "peft/module_hints.h"

#include <algorithm>
#include <array>

#include "lora/base/text.h"

namespace lora::peft {

namespace {

/// The families' names of modules with the same function; rows are padded with "".
using Names = std::array<std::string_view, 9>;
constexpr std::array<Names, 8> kSameTask{
    {{"q_proj", "query", "q_lin", "c_attn", "query_key_value", "qkv_proj", "Wqkv", "q"},
     {"k_proj", "key", "k_lin", "c_attn", "query_key_value", "qkv_proj", "Wqkv", "k"},
     {"v_proj", "value", "v_lin", "c_attn", "query_key_value", "qkv_proj", "Wqkv", "v"},
     {"o_proj", "out_proj", "out_lin", "c_proj", "dense", "Wo", "o"},
     {"gate_proj", "gate_up_proj", "w1", "Wi", "c_fc", "dense_h_to_4h", "fc1", "lin1"},
     {"up_proj", "gate_up_proj", "w3", "Wi", "c_fc", "dense_h_to_4h", "fc1", "lin1"},
     {"down_proj", "w2", "c_proj", "dense_4h_to_h", "fc2", "lin2", "Wo"},
     {"embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "lm_head", "embed_out"}}};

bool contains(const Names& names, std::string_view name) {
  return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::string module_hint(const std::string& name, const std::vector<std::string>& names) {
  const std::string last = name.substr(name.rfind('.') + 1);
  std::string found;
  for (const Names& same : kSameTask) {
    // In the table's order, so that an embedding's name is preferred to a head's.
    for (const std::string_view other : same) {
      if (found.empty() && contains(same, last) && std::find(names.begin(), names.end(), other) != names.end()) {
        found = other;
      }
    }
  }
  found = found.empty() ? nearest_name(last, names) : found;
  return found.empty() ? "" : " Did you mean '" + found + "'?";
}

}  // namespace lora::peft
