#include "lora/base/found_text.h"
#include "lora/base/json.h"

#include <cmath>

#include "lora/base/json_access.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"

namespace lora {

namespace {

thread_local JsonAccess* innermost = nullptr;

}  // namespace

JsonAccess::JsonAccess() : outer_(innermost) {
  innermost = this;
}

JsonAccess::~JsonAccess() {
  innermost = outer_;
}

void JsonAccess::note(const Json& object, const std::string& key) {
  for (JsonAccess* access = innermost; access != nullptr; access = access->outer_) {
    access->read_.emplace(&object, key);
  }
}

std::string type_name(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::binary:
      return "an integer";
    case Json::value_t::number_float:
      return std::isnan(value.get<double>()) ? "NaN" : "a number";
    default:
      return "a value of an unknown type";
  }
}

std::string shown(const Json& value, size_t limit) {
  return printable(json_line(value), limit);
}

JsonReader::JsonReader(const Json& object, std::string where, ErrorKind kind) : JsonReader(object, where, where + ": ", kind) {}

JsonReader::JsonReader(const Json& object, std::string where, std::string prefix, ErrorKind kind)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)), kind_(kind) {
  if (!object.is_object()) {
    throw Error(kind, where_, "found " + found_text(object) + ", expected a JSON object");
  }
}

bool JsonReader::has(const std::string& key) const {
  JsonAccess::note(object_, key);
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

bool JsonReader::is_null(const std::string& key) const {
  JsonAccess::note(object_, key);
  const auto found = object_.find(key);
  return found != object_.end() && found->is_null();
}

const Json& JsonReader::at(const std::string& key) const {
  JsonAccess::note(object_, key);
  const auto found = object_.find(key);
  if (found == object_.end() || found->is_null()) {
    throw Error(kind_, prefix_ + key, std::string("is ") + (found == object_.end() ? "missing" : "null") + ", but needed");
  }
  return *found;
}

void JsonReader::fail(const std::string& key, const std::string& expected) const {
  const auto value = object_.find(key);
  const std::string found = value == object_.end() ? "nothing" : found_text(*value);
  throw Error(kind_, prefix_ + key, "found " + found + ", expected " + expected);
}

std::string JsonReader::string(const std::string& key) const {
  const Json& value = at(key);
  if (!value.is_string()) {
    fail(key, "a string");
  }
  return value.get<std::string>();
}

std::string JsonReader::string(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

int64_t JsonReader::integer(const std::string& key) const {
  const Json& value = at(key);
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    fail(key, "an integer of at most 64 bits with sign");
  }
  if (!value.is_number_integer()) {
    fail(key, "an integer");
  }
  return value.get<int64_t>();
}

int64_t JsonReader::integer(const std::string& key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double JsonReader::number(const std::string& key) const {
  const Json& value = at(key);
  if (!value.is_number()) {
    fail(key, "a number");
  }
  return value.get<double>();
}

double JsonReader::number(const std::string& key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool JsonReader::boolean(const std::string& key, bool fallback) const {
  if (!has(key)) {
    return fallback;
  }
  const Json& value = at(key);
  if (!value.is_boolean()) {
    fail(key, "true or false");
  }
  return value.get<bool>();
}

JsonReader JsonReader::object(const std::string& key) const {
  return JsonReader(at(key), prefix_ + key, prefix_ + key + ".", kind_);
}

}  // namespace lora
