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

/// Classes of transformers that are not built here.
enum class ForeignClass {
  kNone,
  kOwnSections,  ///< takes the vocabulary of a tokenizer.json, and builds every other section itself
  kPython,       ///< is written in Python, and reads other files
};
ForeignClass foreign_class(const std::string& name);

}  // namespace lora::tokenizer
