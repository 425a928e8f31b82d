#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lora/base/error.h"

namespace lora {

/// Keys keep the order of the file, so that messages and rewritten files show them as the user wrote them.
using Json = nlohmann::ordered_json;

/// The nesting limit of every JSON text that is read, because files may come from untrusted sources.
inline constexpr int kMaxJsonDepth = 100;

/// Parses one JSON text strictly: UTF-8, no comments, no duplicate keys, nesting of at most kMaxJsonDepth, nothing
/// after the value. A leading byte-order mark is skipped.
/// `where` names the text in errors ("file.jsonl"); `first_line` is the number of its first line in that file.
/// Throws Error of `kind` as "[where:line:column] …".
Json parse_json(std::string_view text, const std::string& where, ErrorKind kind, int64_t first_line = 1);

/// Reads and parses a whole file. Throws Error of `kind` also when it cannot be read.
Json read_json(const std::filesystem::path& file, ErrorKind kind);

/// The type of a value in the words of messages: "a string", "an integer", "null", …
std::string type_name(const Json& value);

/// One line of JSON for messages, truncated to `limit` bytes.
std::string shown(const Json& value, size_t limit = 60);

/// Reader of one JSON object written by another program (config.json, tokenizer_config.json): typed access, each
/// error naming file and key. Keys not asked for are ignored; the run's own config is read strictly, in config/.
/// Holds a reference: `object` must live longer.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string where, ErrorKind kind);

  bool has(const std::string& key) const;        ///< present and not null
  bool is_null(const std::string& key) const;    ///< present and null
  const Json& at(const std::string& key) const;  ///< throws Error if missing or null
  std::string string(const std::string& key) const;
  std::string string(const std::string& key, const std::string& fallback) const;
  int64_t integer(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t fallback) const;
  double number(const std::string& key) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  JsonReader object(const std::string& key) const;
  const std::string& where() const { return where_; }
  /// Throws "[where: key] found …, expected `expected`".
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;

 private:
  JsonReader(const Json& object, std::string where, std::string prefix, ErrorKind kind);

  const Json& object_;
  std::string where_;
  std::string prefix_;  ///< before a key in errors: "config.json: ", "config.json: rope_scaling."
  ErrorKind kind_;
};

}  // namespace lora
