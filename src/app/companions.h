#pragma once
#include <array>

namespace lora::app {

/// What stands beside the weights in a model folder: its tokenizer and how it generates.
inline constexpr std::array<const char*, 10> kCompanions{"tokenizer.model",
                                                         "tokenizer.json",
                                                         "tokenizer_config.json",
                                                         "special_tokens_map.json",
                                                         "added_tokens.json",
                                                         "chat_template.jinja",
                                                         "vocab.json",
                                                         "vocab.txt",
                                                         "merges.txt",
                                                         "generation_config.json"};

}  // namespace lora::app
