#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// The class that uses tokenizer.json unchanged.
inline constexpr const char* kPlainClass = "TokenizersBackend";

/// The class that AutoTokenizer of transformers 5 uses for a folder with these two files, without trust_remote_code: the class that
/// tokenizer_config.json or config.json declares, or that of the model's type, without the suffix "Fast"; kPlainClass if transformers
/// does not know the class or overrides it. `tokenizer_json`: the path of the file, which may not exist.
std::string find_tokenizer_class(const Json& tokenizer_config, const Json& config, const std::filesystem::path& tokenizer_json);

/// Kinds of transformers' classes that are not reproduced here.
enum class ForeignClass {
  kNone,
  kOwnSections,  ///< only takes the vocabulary of a tokenizer.json and builds every other section itself
  kPython,       ///< is implemented in Python and reads other files
};
ForeignClass foreign_class(const std::string& name);

}  // namespace lora::tokenizer
