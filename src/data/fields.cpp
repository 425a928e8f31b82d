#include "data/fields.h"

#include <cmath>
#include <limits>

#include "lora/base/found_text.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

std::string names_of(const Json& object) {
  std::vector<std::string> names;
  for (const auto& item : object.items()) {
    names.push_back("\"" + printable(item.key()) + "\"");
  }
  return names.empty() ? "none" : join(names, ", ", 12);
}

/// The number that a cell holds; null if it is not a number.
Json read_number(const std::string& cell) {
  const Json value = Json::parse(cell, nullptr, /*allow_exceptions=*/false);
  return value.is_number() ? value : Json();
}

}  // namespace

const std::string& Fields::column(const std::string& field) const {
  const auto renamed = source_.columns.find(field);
  return renamed != source_.columns.end() ? renamed->second : field;
}

bool Fields::has(const std::string& field) const {
  const auto found = row_.object.find(column(field));
  if (found == row_.object.end() || found->is_null()) {
    return false;
  }
  return !row_.cells || !found->get_ref<const std::string&>().empty();
}

std::vector<std::string> Fields::columns() const {
  std::vector<std::string> names;
  for (const auto& item : row_.object.items()) {
    names.push_back(item.key());
  }
  return names;
}

bool Fields::is_empty(const std::string& field) const {
  const Json& value = at(field);
  const std::string text = value.is_string() ? trim(value.get_ref<const std::string&>()) : "-";
  return text.empty() || text == "[]" || text == "{}" || (value.is_structured() && value.empty());
}

const Json& Fields::at(const std::string& field) const {
  const auto found = row_.object.find(column(field));
  if (found == row_.object.end()) {
    data_error(origin(), "the field \"" + column(field) + "\" is missing: found " + names_of(row_.object) + ", expected \"" +
                             column(field) + "\". If the file uses another name, set \"columns\": {\"" + field + "\": \"…\"}.");
  }
  return *found;
}

const std::string& Fields::text(const std::string& field) const {
  const Json& value = at(field);
  if (!value.is_string()) {
    fail(field, "found " + found_text(value) + ", expected a string");
  }
  return value.get_ref<const std::string&>();
}

Json Fields::json(const std::string& field) const {
  const Json& value = at(field);
  return value.is_string()
             ? parse_python_json(value.get_ref<const std::string&>(), origin() + ", column " + column(field), ErrorKind::kData)
             : value;
}

std::vector<int32_t> Fields::integers(const std::string& field, int64_t low, int64_t high, int64_t other) const {
  const Json cell = row_.cells ? parse_python_json(text(field), origin() + ", column " + column(field), ErrorKind::kData) : Json();
  const Json& values = row_.cells ? cell : at(field);
  if (!values.is_array()) {
    fail(field, "found " + found_text(values) + ", expected an array of integers");
  }
  std::vector<int32_t> result;
  result.reserve(values.size());
  for (const Json& value : values) {
    const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= INT32_MAX : value.is_number_integer();
    const int64_t number = fits ? value.get<int64_t>() : -1;
    if (!fits || ((number < low || number > high) && number != other)) {
      const std::string also = other < low ? " or " + std::to_string(other) : "";
      data_error(origin(), column(field) + "[" + std::to_string(result.size()) + "]: found " + shown(value) +
                               ", expected an integer from " + std::to_string(low) + " to " + std::to_string(high) + also +
                               ". Likely cause: the rows were made with another model's tokenizer.");
    }
    result.push_back(static_cast<int32_t>(number));
  }
  return result;
}

std::vector<bool> Fields::mask(const std::string& field, size_t count) const {
  const Json values = numbers(field);
  if (!values.is_array() || values.size() != count) {
    fail(field, "found " + (values.is_array() ? std::to_string(values.size()) + " values" : type_name(values)) + ", expected " +
                    std::to_string(count) + ", one per id of input_ids");
  }
  std::vector<bool> result;
  result.reserve(count);
  for (const Json& value : values) {
    if (!value.is_boolean() && value != 0 && value != 1) {
      fail(field, "found " + shown(value) + " at " + std::to_string(result.size()) + ", expected 0 or 1");
    }
    result.push_back(value == 1 || value == true);
  }
  return result;
}

std::vector<int32_t> Fields::attention(size_t count) const {
  const Json values = numbers("attention_mask");
  const bool is_boolean = values.is_array() && !values.empty() && values.front().is_boolean();
  if (is_boolean) {
    const std::vector<bool> kept = mask("attention_mask", count);
    return {kept.begin(), kept.end()};
  }
  std::vector<int32_t> numbers = integers("attention_mask", 0, INT32_MAX, 0);
  if (numbers.size() != count) {
    fail("attention_mask",
         "found " + std::to_string(numbers.size()) + " values for " + std::to_string(count) + " input_ids, expected one per id");
  }
  return numbers;
}

bool Fields::is_list(const std::string& field) const {
  return row_.cells ? trim(text(field)).starts_with("[") : at(field).is_array();
}

Json Fields::numbers(const std::string& field) const {
  return row_.cells ? parse_python_json(text(field), origin() + ", column " + column(field), ErrorKind::kData) : at(field);
}

RowLabel Fields::label(const std::string& field) const {
  const Json& own = at(field);
  const Json cell = row_.cells && own.is_string() ? read_number(own.get_ref<const std::string&>()) : Json();
  const Json& value = cell.is_null() ? own : cell;
  if (value.is_number()) {
    const double number = value.get<double>();
    if (!(std::abs(number) <= std::numeric_limits<float>::max())) {
      fail(field, "found " + shown(value) + ", expected a number in the range of float32");
    }
    return {value.is_number_integer() ? LabelKind::kIntegers : LabelKind::kReals, number, ""};
  }
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    fail(field, "found " + found_text(value) + ", expected a class (an integer or a name) or a number");
  }
  return {LabelKind::kNames, 0, value.get<std::string>()};
}

void Fields::fail(const std::string& field, const std::string& what) const {
  data_error(origin(), "field \"" + column(field) + "\": " + what);
}

}  // namespace lora::data
