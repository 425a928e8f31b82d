#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/json/added_tokens.h"

namespace lora::tokenizer {

/// What the files beside a tokenizer.json say about its tokens.
struct Settings {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::vector<std::string> special_tokens;  ///< every token that has a role, such as pad_token
  std::vector<AddedToken> added_tokens;     ///< added_tokens_decoder, by id
  std::optional<int32_t> bos_id;            ///< config.json's, for tokenizers whose settings name none (GPT-2)
  std::optional<int32_t> eos_id;
  std::vector<std::filesystem::path> files;  ///< those read
};

/// Reads tokenizer_config.json and, where it says nothing of a BOS or EOS, config.json in `folder`, where there are such.
/// add_bos_token and add_eos_token are not read: with a tokenizer.json, its post_processor decides, as in transformers. Throws
/// model Error for a malformed file.
Settings read_settings(const std::filesystem::path& folder);

}  // namespace lora::tokenizer
