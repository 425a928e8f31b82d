#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// How a key of the tokenizer files is used.
enum class KeyUse {
  kHonoured,    ///< it is followed
  kChecked,     ///< an unsupported value causes a warning or an error
  kOtherClass,  ///< only used by tokenizer classes that cause a warning
  kIrrelevant,  ///< it changes no ids and no text
};

/// The use of a key of `file` ("tokenizer_config.json", "special_tokens_map.json"); empty for an unknown key.
std::optional<KeyUse> key_use(std::string_view file, const std::string& key);

/// The use of a key of tokenizer.json, at its top level ("") or in a component of the given type ("BPE", "BertNormalizer").
std::optional<KeyUse> component_key_use(const std::string& type, const std::string& key);

/// Warns of the unknown keys of a file's object, in one line.
void warn_of_unknown_keys(const Json& object, std::string_view file, const std::string& where);

/// The same for a whole tokenizer.json, including the keys of its components.
void warn_of_unknown_component_keys(const Json& file, const std::string& where);

}  // namespace lora::tokenizer
