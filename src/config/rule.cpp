#include "config/rule.h"

#include <algorithm>
#include <cmath>

#include "config/schema_check.h"
#include "lora/base/text.h"

namespace lora::config {

namespace {

Rule of_schema(Json schema) {
  return {std::move(schema), "", {}, ""};
}

/// " Did you mean 'x'?" for a string near to one that is allowed.
std::string nearest_allowed(const Json& schema, const Json& value) {
  if (!value.is_string() || !schema.contains("enum")) {
    return "";
  }
  std::vector<std::string> names;
  for (const Json& allowed : schema["enum"]) {
    if (allowed.is_string()) {
      names.push_back(allowed.get<std::string>());
    }
  }
  const std::string nearest = nearest_name(value.get_ref<const std::string&>(), names);
  return nearest.empty() ? "" : ". Did you mean '" + nearest + "'?";
}

}  // namespace

Rule number(const Bounds& bounds) {
  Json schema{{"type", "number"}};
  const auto add = [&](const char* key, const std::optional<double>& bound) {
    if (bound) {
      schema[key] = number_json(*bound);
    }
  };
  add("exclusiveMinimum", bounds.above);
  add("minimum", bounds.from);
  add("exclusiveMaximum", bounds.below);
  add("maximum", bounds.to);
  return of_schema(std::move(schema));
}

Rule integer(int64_t from, int64_t to) {
  return of_schema({{"type", "integer"}, {"minimum", from}, {"maximum", to}});
}

Rule boolean() {
  return of_schema({{"type", "boolean"}});
}

Rule text() {
  return of_schema({{"type", "string"}, {"minLength", 1}});
}

Rule any_text() {
  return of_schema({{"type", "string"}});
}

Rule one_of(std::vector<Json> values) {
  return of_schema({{"enum", std::move(values)}});
}

Rule name_of(const std::vector<std::string>& names, std::vector<std::string> later) {
  Rule rule = of_schema({{"type", "string"}, {"enum", names}});
  std::erase_if(later, [&names](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); });
  rule.later = std::move(later);
  return rule;
}

Rule list_of(const Rule& item, size_t min_items) {
  Json schema{{"type", "array"}, {"items", item.schema}};
  if (min_items > 0) {
    schema["minItems"] = min_items;
  }
  return of_schema(std::move(schema));
}

Rule map_of(const Rule& value) {
  return of_schema({{"type", "object"}, {"additionalProperties", value.schema}});
}

Rule any_of(const std::vector<Rule>& alternatives) {
  Json schemas = Json::array();
  for (const Rule& alternative : alternatives) {
    schemas.push_back(alternative.schema);
  }
  return of_schema({{"anyOf", std::move(schemas)}});
}

Rule nullable(Rule rule) {
  if (rule.schema.contains("anyOf")) {
    rule.schema["anyOf"].push_back({{"type", "null"}});
  } else {
    rule.schema["type"] = Json::array({rule.schema["type"], "null"});
    if (rule.schema.contains("enum")) {
      rule.schema["enum"].push_back(nullptr);
    }
  }
  return rule;
}

bool accept(const Rule& rule, const Json& value, const ConfigPlace& at) {
  if (satisfies(rule.schema, value)) {
    return true;
  }
  std::string message = "found " + shown(value);
  if (value.is_string() && std::find(rule.later.begin(), rule.later.end(), value.get<std::string>()) != rule.later.end()) {
    message += ", which this version does not support";
  }
  message += ", expected " + (rule.expected.empty() ? expected_text(rule.schema) : rule.expected);
  if (value.is_number() && std::abs(value.get<double>()) > static_cast<double>(kLargestInteger)) {
    message += " and <= " + std::to_string(kLargestInteger);
  }
  message += nearest_allowed(rule.schema, value);
  at.add(message + (rule.note.empty() ? "" : ". " + rule.note + "."));
  return false;
}

Json number_json(double value) {
  const bool whole = std::abs(value) <= static_cast<double>(kLargestInteger) && std::floor(value) == value;
  return whole ? Json(static_cast<int64_t>(value)) : Json(value);
}

}  // namespace lora::config
