#pragma once
#include <filesystem>
#include <memory>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// Reads a tokenizer.json of Hugging Face's `tokenizers`. With `has_settings`, also reads the other files in its folder
/// (read_folder_settings), and replaces sections as the tokenizer's class in transformers does. The sections "truncation" and "padding" are
/// not applied: the run truncates and pads by its own rules. Throws model Error for a damaged file and for a component of unknown type.
std::unique_ptr<Tokenizer> load_json_tokenizer(const std::filesystem::path& file, bool has_settings);

/// The same for a folder with find_vocabulary_files instead of a tokenizer.json. Throws model Error if its files do not name a class that
/// defines how texts are split.
std::unique_ptr<Tokenizer> load_vocabulary_files(const std::filesystem::path& folder);

}  // namespace lora::tokenizer
