#pragma once
#include <filesystem>
#include <memory>
#include <optional>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// Reads a SentencePiece model file; `settings`: the folder of its tokenizer_config.json, if any.
/// Throws model Error if the file is damaged.
std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& model, const std::optional<std::filesystem::path>& settings);

}  // namespace lora::tokenizer
