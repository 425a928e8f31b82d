#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// The largest value of an integer key, 2^53 - 1, which every JSON reader represents exactly.
inline constexpr int64_t kLargestInteger = 9007199254740991;
/// The largest value of sizes that are multiplied with each other.
inline constexpr int64_t kLargestSize = 1'000'000;

/// Which values a key accepts: one JSON Schema, which is both checked and printed, and the words for a value that it refuses.
struct Rule {
  Json schema;
  std::string expected;            ///< instead of the text generated from the schema
  std::vector<std::string> later;  ///< values that other tools accept and this version does not
  std::string note;                ///< appended to every finding
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

/// Whether `value` satisfies the rule; if not, reports that at `at`.
bool accept(const Rule& rule, const Json& value, const ConfigPlace& at);

/// A double as JSON; whole numbers become integers, as users write them.
Json number_json(double value);

}  // namespace lora::config
