#include "base/json_numbers.h"

#include <cctype>
#include <cmath>
#include <limits>

namespace lora {
namespace {

// nlohmann's values cannot hold large integers. Its binary values never come from JSON text, so they can hold the digits.
constexpr Json::binary_t::subtype_type kDigits = 1;

struct Name {
  std::string_view text;
  std::string_view zero;
  double value;
};

constexpr Name kNames[] = {{"-Infinity", "-0.000000", -std::numeric_limits<double>::infinity()},
                           {"Infinity", "0.000000", std::numeric_limits<double>::infinity()},
                           {"NaN", "0.0", std::numeric_limits<double>::quiet_NaN()}};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
}

const Name* name_at(const std::string& text, size_t at) {
  if (at > 0 && (is_word(text[at - 1]) || text[at - 1] == '-')) {
    return nullptr;
  }
  for (const Name& name : kNames) {
    const size_t end = at + name.text.size();
    if (text.compare(at, name.text.size(), name.text) == 0 && (end == text.size() || !is_word(text[end]))) {
      return &name;
    }
  }
  return nullptr;
}

std::string number_text(double value) {
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

void write_line(const Json& value, std::string& text) {
  const bool is_object = value.is_object();
  if (is_object || value.is_array()) {
    text += is_object ? '{' : '[';
    bool first = true;
    for (auto item = value.begin(); item != value.end(); ++item) {
      text += first ? "" : ",";
      first = false;
      text += is_object ? Json(item.key()).dump(-1, ' ', false, Json::error_handler_t::replace) + ":" : "";
      write_line(*item, text);
    }
    text += is_object ? '}' : ']';
  } else if (const auto digits = large_integer(value)) {
    text += *digits;
  } else if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    text += number_text(value.get<double>());
  } else {
    text += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

}  // namespace

bool may_hold_non_finite(std::string_view text) {
  return text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos;
}

std::vector<NonFinite> make_finite(std::string& text) {
  std::vector<NonFinite> found;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      in_string = text[i] != '"';
      i += text[i] == '\\' ? 1 : 0;
      continue;
    }
    in_string = text[i] == '"';
    if (const Name* name = name_at(text, i)) {
      text.replace(i, name->zero.size(), name->zero);
      found.push_back({i, name->value});
      i += name->zero.size() - 1;
    }
  }
  return found;
}

Json make_large_integer(const std::string& digits) {
  return Json::binary({digits.begin(), digits.end()}, kDigits);
}

std::optional<std::string> large_integer(const Json& value) {
  if (!value.is_binary()) {
    return std::nullopt;
  }
  const Json::binary_t& bytes = value.get_binary();
  return std::string(bytes.begin(), bytes.end());
}

std::string json_line(const Json& value) {
  std::string text;
  write_line(value, text);
  return text;
}

}  // namespace lora
