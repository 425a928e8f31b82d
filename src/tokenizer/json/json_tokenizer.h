#pragma once
#include <filesystem>
#include <memory>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// Reads a tokenizer.json of Hugging Face's `tokenizers`; with `has_settings`, the files beside it too, as read_folder_settings does, and
/// the file's sections are those of the tokenizer's class in transformers. Its sections "truncation" and "padding" are not applied: texts
/// are cut by the run's own max_length, and there is no padding. Throws model Error for a damaged file and for a component of an unknown
/// type.
std::unique_ptr<Tokenizer> load_json_tokenizer(const std::filesystem::path& file, bool has_settings);

/// The same of a folder with find_vocabulary_files in place of a tokenizer.json. Throws model Error where the files beside them name no
/// class that says how texts are cut.
std::unique_ptr<Tokenizer> load_vocabulary_files(const std::filesystem::path& folder);

}  // namespace lora::tokenizer
