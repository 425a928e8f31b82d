#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// No integer key reaches further: 2^53 - 1, exact in every JSON reader.
inline constexpr int64_t kLargestInteger = 9007199254740991;
/// Sizes that are multiplied with each other stay below this.
inline constexpr int64_t kLargestSize = 1'000'000;

/// Which values a key takes: one JSON Schema, that is both checked and printed, and the words for what it refuses.
struct Rule {
  Json schema;
  std::string expected;            ///< in place of the text made from the schema
  std::vector<std::string> later;  ///< values that other tools know and this version does not
  std::string note;                ///< said after every finding
};

struct Bounds {
  std::optional<double> above = std::nullopt;  ///< exclusive
  std::optional<double> from = std::nullopt;
  std::optional<double> below = std::nullopt;  ///< exclusive
  std::optional<double> to = std::nullopt;
};

Rule number(const Bounds& bounds);
Rule integer(int64_t from, int64_t to = kLargestInteger);
Rule boolean();
Rule text();      ///< a non-empty string
Rule any_text();  ///< a string
/// One of these values.
Rule one_of(std::vector<Json> values);
/// One of these names.
Rule name_of(const std::vector<std::string>& names, std::vector<std::string> later = {});
Rule list_of(const Rule& item, size_t min_items = 0);
/// An object with any keys.
Rule map_of(const Rule& value);
Rule any_of(const std::vector<Rule>& alternatives);
Rule nullable(Rule rule);

/// Whether `value` keeps the rule; if not, says so at `at`.
bool accept(const Rule& rule, const Json& value, const Place& at);

/// A double as JSON, whole ones as integers, so that they read as users write them.
Json number_json(double value);

}  // namespace lora::config
