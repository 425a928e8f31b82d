#pragma once
#include <string>

#include "lora/base/json.h"
#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// What a tokenizer.json, named `where`, adds to the settings of its folder: its own added tokens, where no added_tokens_decoder stands
/// in their place, and the token to pad with, where no file names one.
void add_file_settings(const Json& file, FolderSettings& settings, const std::string& where);

}  // namespace lora::tokenizer
