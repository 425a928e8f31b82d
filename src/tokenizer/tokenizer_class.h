#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// The class that uses tokenizer.json as it stands.
inline constexpr const char* kPlainClass = "TokenizersBackend";

/// The class that AutoTokenizer of transformers 5 makes of a folder with these two files, without trust_remote_code: the one that
/// tokenizer_config.json or config.json declares or the model's type has, without "Fast" at its end; kPlainClass where
/// transformers knows none, or knows better. `tokenizer_json`: the file, which may not be there.
std::string find_tokenizer_class(const Json& tokenizer_config, const Json& config, const std::filesystem::path& tokenizer_json);

/// Whether transformers' class of that name takes over the vocabulary of a tokenizer.json and builds everything else itself, in a way
/// that is not done here; or is written in Python alone.
bool is_foreign_class(const std::string& name);

}  // namespace lora::tokenizer
