#pragma once
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

/// One kind of a component of tokenizer.json and how it is read.
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
  model_error(where, "the type '" + printable(type) + "' is unknown" + did_you_mean(type, known) + "; known: " + join(known) + ".");
}

/// What a section holds: nothing for null, the parts of a Sequence (whose list is `key`) one after the other, else itself.
/// Sequences in sequences are opened too.
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

/// Reads a key that must hold true or false. Throws model Error.
inline bool required_boolean(const JsonReader& reader, const std::string& key) {
  reader.at(key);
  return reader.boolean(key, false);
}

}  // namespace lora::tokenizer
