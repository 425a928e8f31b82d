#pragma once
#include <string>

#include "lora/base/json.h"
#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// Adds the settings in a tokenizer.json, named `where`, to those of its folder: its own added tokens unless an added_tokens_decoder
/// replaces them, and the padding token if no file names one.
void add_file_settings(const Json& file, FolderSettings& settings, const std::string& where);

}  // namespace lora::tokenizer
