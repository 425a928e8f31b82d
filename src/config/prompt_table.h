#pragma once
#include <concepts>
#include <string>
#include <vector>

#include "config/method_keys.h"
#include "config/target_fields.h"

// The keys of PEFT's PromptLearningConfig, which the methods that learn virtual tokens have in common.
namespace lora::config {

inline constexpr int64_t kMostVirtualTokens = 65536;

/// Adds num_virtual_tokens and the sizes that PEFT writes into its files.
template <std::derived_from<peft::PromptOptions> Options>
void add_virtual_tokens(Table<Options>& table) {
  table
      .value(
          "num_virtual_tokens", [](auto& o) -> auto& { return o.num_virtual_tokens; }, integer(1, kMostVirtualTokens),
          "Number of virtual tokens; it has no default.")
      .only_where_given()
      .example(20);
  const auto size = [&table](const char* key, auto access, const char* of) {
    table.value(key, access, nullable(integer(1)), std::string("As PEFT writes it: ") + of + ". Anything else is an error.")
        .only_where_given();
  };
  size(
      "token_dim", [](auto& o) -> auto& { return o.token_dim; }, "the width of a virtual token in this model");
  size(
      "num_layers", [](auto& o) -> auto& { return o.num_layers; }, "the number of layers");
  size(
      "num_attention_heads", [](auto& o) -> auto& { return o.num_attention_heads; }, "the number of heads");
  size(
      "num_transformer_submodules", [](auto& o) -> auto& { return o.num_transformer_submodules; }, "1, the number of transformers");
}

/// Adds encoder_hidden_size.
template <std::derived_from<peft::PromptOptions> Options>
void add_encoder_hidden_size(Table<Options>& table) {
  table
      .value(
          "encoder_hidden_size", [](auto& o) -> auto& { return o.encoder_hidden_size; }, nullable(integer(1, kLargestSize)),
          "Hidden size of the network that computes the virtual tokens; null: the width of a virtual token.")
      .example(512);
}

/// Adds modules_to_save, PEFT's metadata and init_from.
template <std::derived_from<peft::PromptOptions> Options>
void add_shared_prompt_keys(Table<Options>& table) {
  table.custom(modules_to_save_field<Options>()).example({"score"});
  add_metadata(table);
  add_init_from(table);
}

/// Reports a missing num_virtual_tokens.
inline void require_virtual_tokens(const peft::PromptOptions& options, const ConfigPlace& at) {
  const ConfigPlace place = at.key("num_virtual_tokens");
  if (options.num_virtual_tokens == 0 && place.sound()) {
    place.add("is missing, expected the number of virtual tokens, such as 20");
  }
}

/// MethodKeys::settle_stored of these methods: an adapter that is computed with must say how many virtual tokens it has.
template <std::derived_from<peft::PromptOptions> Options>
void settle_prompt(const Json&, const std::filesystem::path&, AdapterUse use, Options& options, const ConfigPlace& file) {
  if (use == AdapterUse::kCompute) {
    require_virtual_tokens(options, file);
  }
}

/// Reports keys that must be those of the adapter of init_from, whose tensors have their sizes.
inline void require_same_keys(const Json& start, const Json& section, const std::vector<const char*>& keys, const ConfigPlace& at) {
  for (const char* key : keys) {
    const Json theirs = start.value(key, Json(nullptr)), ours = section.value(key, theirs);
    if (ours != theirs) {
      at.key(key).add("found " + shown(ours) + ", but the adapter of init_from has " + shown(theirs) +
                      ": remove this key to continue from that adapter");
    }
  }
}

}  // namespace lora::config
