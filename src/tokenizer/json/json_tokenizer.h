#pragma once
#include <filesystem>
#include <memory>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// Reads a tokenizer.json of Hugging Face's `tokenizers`; with `has_settings`, tokenizer_config.json and config.json in its
/// folder too. Its sections "truncation" and "padding" are not applied: texts are cut by the run's own max_length, and there is
/// no padding. Throws model Error for a damaged file and for a component of an unknown type.
std::unique_ptr<Tokenizer> load_json_tokenizer(const std::filesystem::path& file, bool has_settings);

}  // namespace lora::tokenizer
