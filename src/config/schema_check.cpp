#include "config/schema_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "config/rule.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"

namespace lora::config {

namespace {

bool is_whole(const Json& value) {
  return value.is_number_integer() || (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
}

bool has_type(const std::string& type, const Json& value) {
  return (type == "null" && value.is_null()) || (type == "boolean" && value.is_boolean()) || (type == "string" && value.is_string()) ||
         (type == "number" && value.is_number()) || (type == "integer" && is_whole(value)) || (type == "array" && value.is_array()) ||
         (type == "object" && value.is_object());
}

std::vector<std::string> types_of(const Json& schema) {
  if (!schema.contains("type")) {
    return {};
  }
  const Json& type = schema["type"];
  return type.is_array() ? type.get<std::vector<std::string>>() : std::vector<std::string>{type.get<std::string>()};
}

bool number_fits(const Json& schema, const Json& value) {
  const auto number = value.get<double>();
  return std::isfinite(number) && (!schema.contains("minimum") || number >= schema["minimum"].get<double>()) &&
         (!schema.contains("exclusiveMinimum") || number > schema["exclusiveMinimum"].get<double>()) &&
         (!schema.contains("maximum") || number <= schema["maximum"].get<double>()) &&
         (!schema.contains("exclusiveMaximum") || number < schema["exclusiveMaximum"].get<double>());
}

bool string_fits(const Json& schema, const std::string& text) {
  return text.size() >= schema.value("minLength", size_t{0}) &&
         (!schema.contains("pattern") || Regex(schema["pattern"].get<std::string>(), "schema", ErrorKind::kConfig).matches_whole(text));
}

bool array_fits(const Json& schema, const Json& value) {
  return value.size() >= schema.value("minItems", size_t{0}) && value.size() <= schema.value("maxItems", SIZE_MAX) &&
         (!schema.contains("items") ||
          std::all_of(value.begin(), value.end(), [&](const Json& item) { return satisfies(schema["items"], item); }));
}

bool member_fits(const Json& schema, const std::string& key, const Json& value) {
  if (schema.contains("propertyNames") && !satisfies(schema["propertyNames"], Json(key))) {
    return false;
  }
  if (schema.contains("properties") && schema["properties"].contains(key)) {
    return satisfies(schema["properties"][key], value);
  }
  if (!schema.contains("additionalProperties")) {
    return true;
  }
  const Json& others = schema["additionalProperties"];
  return others.is_boolean() ? others.get<bool>() : satisfies(others, value);
}

bool object_fits(const Json& schema, const Json& value) {
  if (schema.contains("required") && !std::all_of(schema["required"].begin(), schema["required"].end(),
                                                  [&](const Json& key) { return value.contains(key.get<std::string>()); })) {
    return false;
  }
  return std::all_of(value.items().begin(), value.items().end(),
                     [&](const auto& member) { return member_fits(schema, member.key(), member.value()); });
}

std::string bounds_text(const Json& schema) {
  std::vector<std::string> bounds;
  for (const auto& [key, sign] :
       {std::pair{"exclusiveMinimum", "> "}, {"minimum", ">= "}, {"exclusiveMaximum", "< "}, {"maximum", "<= "}}) {
    // The general limit of integers is too large to be worth mentioning.
    if (schema.contains(key) && schema[key] != Json(kLargestInteger)) {
      bounds.push_back(sign + schema[key].dump());
    }
  }
  return bounds.empty() ? "" : " " + join(bounds, " and ");
}

std::string plural(const Json& schema) {
  const std::vector<std::string> types = types_of(schema);
  return types.size() == 1 ? types[0] + "s" + bounds_text(schema) : "values";
}

std::string type_text(const std::string& type, const Json& schema) {
  if (type == "integer") {
    return "an integer" + bounds_text(schema);
  }
  if (type == "number") {
    return "a number" + bounds_text(schema);
  }
  if (type == "boolean") {
    return "true or false";
  }
  if (type == "string") {
    return schema.value("minLength", 0) > 0 ? "a non-empty string" : "a string";
  }
  if (type == "array") {
    const std::string what = schema.contains("items") ? " of " + plural(schema["items"]) : "";
    return (schema.value("minItems", 0) > 0 ? "a non-empty list" : "a list") + what;
  }
  if (type == "object") {
    const bool uniform = schema.contains("additionalProperties") && schema["additionalProperties"].is_object();
    return "an object" + (uniform ? " with " + plural(schema["additionalProperties"]) + " as values" : "");
  }
  return type;
}

}  // namespace

bool satisfies(const Json& schema, const Json& value) {
  const auto valid = [&](const Json& alternative) { return satisfies(alternative, value); };
  if (schema.contains("anyOf") && std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(), valid)) {
    return false;
  }
  if (schema.contains("enum")) {
    return std::find(schema["enum"].begin(), schema["enum"].end(), value) != schema["enum"].end();
  }
  const std::vector<std::string> types = types_of(schema);
  if (!types.empty() && std::none_of(types.begin(), types.end(), [&](const std::string& type) { return has_type(type, value); })) {
    return false;
  }
  if (value.is_number()) {
    return number_fits(schema, value);
  }
  if (value.is_string()) {
    return string_fits(schema, value.get_ref<const std::string&>());
  }
  return value.is_array() ? array_fits(schema, value) : !value.is_object() || object_fits(schema, value);
}

std::string expected_text(const Json& schema) {
  std::vector<std::string> parts;
  if (schema.contains("anyOf")) {
    for (const Json& alternative : schema["anyOf"]) {
      parts.push_back(expected_text(alternative));
    }
    return join(parts, " or ");
  }
  if (schema.contains("enum")) {
    for (const Json& value : schema["enum"]) {
      parts.push_back(value.dump());
    }
    return (parts.size() > 2 ? "one of " + join(parts) : join(parts, " or "));
  }
  for (const std::string& type : types_of(schema)) {
    parts.push_back(type_text(type, schema));
  }
  return join(parts, " or ");
}

}  // namespace lora::config
