#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// What becomes of a key of a tokenizer's files.
enum class KeyUse {
  kHonoured,    ///< what is computed follows it
  kChecked,     ///< a value that cannot be followed is warned of, or an error
  kOtherClass,  ///< only tokenizers of classes that are warned of have it
  kIrrelevant,  ///< it changes no ids and no text
};

/// What becomes of a key of `file` ("tokenizer_config.json", "special_tokens_map.json"), or nothing where it is not known.
std::optional<KeyUse> key_use(std::string_view file, const std::string& key);

/// What becomes of a key of tokenizer.json: of the whole ("") or of a component of that type ("BPE", "BertNormalizer").
std::optional<KeyUse> component_key_use(const std::string& type, const std::string& key);

/// Warns of the keys of a file's object that are not known, in one line.
void warn_of_unknown_keys(const Json& object, std::string_view file, const std::string& where);

/// The same of a whole tokenizer.json, with the keys of its components.
void warn_of_unknown_component_keys(const Json& file, const std::string& where);

}  // namespace lora::tokenizer
