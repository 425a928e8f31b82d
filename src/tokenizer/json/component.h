#pragma once
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

/// A type of component of tokenizer.json and the function that reads it.
template <typename Result>
struct ComponentKind {
  const char* type;
  Result (*read)(const JsonReader& reader);
};

/// The entry of `kinds` that the component's "type" names. Throws model Error naming `where` and the known types.
template <typename Kinds>
auto& find_kind(const Kinds& kinds, const std::string& type, const std::string& where) {
  std::vector<std::string> known;
  for (const auto& kind : kinds) {
    if (type == kind.type) {
      return kind;
    }
    known.emplace_back(kind.type);
  }
  model_error(where, "the type '" + printable(type) + "' is unknown" + did_you_mean(type, known) + "; known: " + join(known));
}

/// The components of a section: none for null, the parts of a Sequence (whose list is `key`), otherwise the section itself.
/// Nested sequences are flattened.
template <typename Take>
void for_each_component(const Json& section, const std::string& key, const std::string& where, const Take& take) {
  if (section.is_null()) {
    return;
  }
  const JsonReader reader(section, where, ErrorKind::kModel);
  const std::string type = reader.string("type");
  if (type != "Sequence") {
    take(type, reader);
    return;
  }
  const Json& parts = reader.at(key);
  if (!parts.is_array()) {
    reader.fail(key, "an array");
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    for_each_component(parts[i], key, where + "." + key + "[" + std::to_string(i) + "]", take);
  }
}

/// Reads a required key with a boolean value. Throws model Error.
inline bool required_boolean(const JsonReader& reader, const std::string& key) {
  reader.at(key);
  return reader.boolean(key, false);
}

}  // namespace lora::tokenizer
