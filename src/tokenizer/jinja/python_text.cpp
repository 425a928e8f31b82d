#include "tokenizer/jinja/python_text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

template <typename Change>
std::string mapped(std::string_view text, const Change& change) {
  icu::UnicodeString wide = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  change(wide);
  std::string result;
  wide.toUTF8String(result);
  return result;
}

/// The title case of one character, which may be several characters: that of ß is Ss.
std::string title_form(std::string_view character) {
  return mapped(character, [](icu::UnicodeString& wide) { wide.toTitle(nullptr, icu::Locale::getRoot()); });
}

bool is_cased(char32_t code) {
  return u_hasBinaryProperty(static_cast<UChar32>(code), UCHAR_CASED) != 0;
}

void append_escape(std::string& text, const char* format, unsigned value) {
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, value);
  text += buffer.data();
}

bool is_printable(char32_t code) {
  switch (u_charType(static_cast<UChar32>(code))) {
    case U_CONTROL_CHAR:
    case U_FORMAT_CHAR:
    case U_SURROGATE:
    case U_PRIVATE_USE_CHAR:
    case U_UNASSIGNED:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
      return false;
    case U_SPACE_SEPARATOR:
      return code == ' ';
    default:
      return true;
  }
}

bool is_line_end(char32_t code) {
  return (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 || code == 0x2029;
}

template <typename Property>
size_t end_of_run(std::string_view text, size_t at, const Property& property) {
  while (at < text.size()) {
    size_t next = at;
    if (!property(next_code_point(text, next))) {
      break;
    }
    at = next;
  }
  return at;
}

template <typename Property>
size_t begin_of_run(std::string_view text, size_t end, const Property& property) {
  while (end > 0) {
    size_t at = previous_begin(text, end);
    const size_t begin = at;
    if (!property(next_code_point(text, at))) {
      break;
    }
    end = begin;
  }
  return end;
}

bool is_not_space(char32_t code) {
  return !is_python_space(code);
}

std::vector<std::string> split_at_spaces(std::string_view text, int64_t max_splits) {
  std::vector<std::string> parts;
  size_t at = end_of_run(text, 0, is_python_space);
  while (at < text.size()) {
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      parts.emplace_back(text.substr(at, begin_of_run(text, text.size(), is_python_space) - at));
      break;
    }
    const size_t end = end_of_run(text, at, is_not_space);
    parts.emplace_back(text.substr(at, end - at));
    at = end_of_run(text, end, is_python_space);
  }
  return parts;
}

std::vector<std::string> split_at_spaces_from_right(std::string_view text, int64_t max_splits) {
  std::vector<std::string> parts;
  size_t end = begin_of_run(text, text.size(), is_python_space);
  while (end > 0) {
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      const size_t begin = end_of_run(text, 0, is_python_space);
      parts.emplace_back(text.substr(begin, end - begin));
      break;
    }
    const size_t begin = begin_of_run(text, end, is_not_space);
    parts.emplace_back(text.substr(begin, end - begin));
    end = begin_of_run(text, begin, is_python_space);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

size_t num_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

size_t byte_of_character(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    at += utf8_length(static_cast<unsigned char>(text[at]));
  }
  return at;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> result;
  for (size_t at = 0; at < text.size();) {
    const size_t size = utf8_length(static_cast<unsigned char>(text[at]));
    result.emplace_back(text.substr(at, size));
    at += size;
  }
  return result;
}

bool is_python_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

std::string_view stripped(std::string_view text, const std::optional<std::string>& set, bool left, bool right) {
  const auto belongs = [&set](char32_t code) {
    if (!set) {
      return is_python_space(code);
    }
    for (size_t at = 0; at < set->size();) {
      if (next_code_point(*set, at) == code) {
        return true;
      }
    }
    return false;
  };
  if (right) {
    text = text.substr(0, begin_of_run(text, text.size(), belongs));
  }
  if (left) {
    text.remove_prefix(end_of_run(text, 0, belongs));
  }
  return text;
}

std::string upper(std::string_view text) {
  if (!is_ascii(text)) {
    return mapped(text, [](icu::UnicodeString& wide) { wide.toUpper(icu::Locale::getRoot()); });
  }
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return result;
}

std::string lower(std::string_view text) {
  if (!is_ascii(text)) {
    return mapped(text, [](icu::UnicodeString& wide) { wide.toLower(icu::Locale::getRoot()); });
  }
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

std::string capitalized(std::string_view text) {
  if (text.empty()) {
    return "";
  }
  const size_t first = utf8_length(static_cast<unsigned char>(text.front()));
  return title_form(text.substr(0, first)) + lower(text.substr(first));
}

std::string titled(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of_run(text, at, is_cased);
    if (end > at) {
      result += capitalized(text.substr(at, end - at));
    }
    const size_t next = end_of_run(text, end, [](char32_t code) { return !is_cased(code); });
    result += text.substr(end, next - end);
    at = next;
  }
  return result;
}

std::string jinja_titled(std::string_view text) {
  const auto separates = [](char32_t code) {
    return is_python_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
  };
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t word = end_of_run(text, at, separates);
    result += text.substr(at, word - at);
    at = end_of_run(text, word, [&](char32_t code) { return !separates(code); });
    if (at > word) {
      const size_t first = utf8_length(static_cast<unsigned char>(text[word]));
      result += upper(text.substr(word, first)) + lower(text.substr(word + first, at - word - first));
    }
  }
  return result;
}

namespace {

bool is_of_case(std::string_view text, int32_t needed, int32_t other) {
  bool has_cased = false;
  for (size_t at = 0; at < text.size();) {
    const auto code = static_cast<UChar32>(next_code_point(text, at));
    const auto type = u_charType(code);
    if (type == other || type == U_TITLECASE_LETTER || (needed == U_UPPERCASE_LETTER ? u_isULowercase(code) : u_isUUppercase(code)) != 0) {
      return false;
    }
    has_cased = has_cased || (needed == U_UPPERCASE_LETTER ? u_isUUppercase(code) : u_isULowercase(code)) != 0;
  }
  return has_cased;
}

}  // namespace

bool is_upper(std::string_view text) {
  return is_of_case(text, U_UPPERCASE_LETTER, U_LOWERCASE_LETTER);
}

bool is_lower(std::string_view text) {
  return is_of_case(text, U_LOWERCASE_LETTER, U_UPPERCASE_LETTER);
}

bool all_characters(std::string_view text, bool (*property)(char32_t)) {
  return !text.empty() && end_of_run(text, 0, property) == text.size();
}

bool is_alphabetic(char32_t code) {
  return u_isalpha(static_cast<UChar32>(code)) != 0;
}

bool is_decimal(char32_t code) {
  return u_charType(static_cast<UChar32>(code)) == U_DECIMAL_DIGIT_NUMBER;
}

bool is_digit(char32_t code) {
  const int32_t type = u_getIntPropertyValue(static_cast<UChar32>(code), UCHAR_NUMERIC_TYPE);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}

bool is_alphanumeric(char32_t code) {
  return is_alphabetic(code) || u_getIntPropertyValue(static_cast<UChar32>(code), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

std::vector<std::string> split_text(std::string_view text, const std::optional<std::string>& separator, int64_t max_splits,
                                    bool from_right) {
  if (!separator) {
    return from_right ? split_at_spaces_from_right(text, max_splits) : split_at_spaces(text, max_splits);
  }
  std::vector<std::string> parts;
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) {
      break;
    }
    const size_t behind = at + separator->size();
    parts.emplace_back(from_right ? text.substr(behind) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(behind);
  }
  parts.emplace_back(text);
  if (from_right) {
    std::reverse(parts.begin(), parts.end());
  }
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of_run(text, at, [](char32_t code) { return !is_line_end(code); });
    size_t next = end;
    if (next < text.size()) {
      const bool is_pair = text.substr(end).starts_with("\r\n");
      next_code_point(text, next);
      next += is_pair ? 1 : 0;
    }
    lines.emplace_back(text.substr(at, (keep_ends ? next : end) - at));
    at = next;
  }
  return lines;
}

size_t count_of(std::string_view text, std::string_view part) {
  if (part.empty()) {
    return num_characters(text) + 1;
  }
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

std::string python_literal(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = next_code_point(text, at);
    if (code == static_cast<char32_t>(quote) || code == '\\') {
      result += '\\';
      result += static_cast<char>(code);
    } else if (code == '\n' || code == '\r' || code == '\t') {
      result += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
    } else if (is_printable(code)) {
      result += text.substr(begin, at - begin);
    } else {
      append_escape(result, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    }
  }
  return result + quote;
}

// The shortest digits that parse to the same value; with an exponent below 1e-4 and from 1e16.
std::string float_text(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  std::array<char, 512> buffer{};
  const double size = std::fabs(value);
  const bool has_exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 has_exponent ? std::chars_format::scientific : std::chars_format::fixed)
                       .ptr;
  std::string text(buffer.data(), end);
  return has_exponent || text.find('.') != std::string::npos ? text : text + ".0";
}

std::string json_quoted(std::string_view text, bool ascii) {
  std::string result = "\"";
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = next_code_point(text, at);
    static constexpr std::string_view kPlain = "\"\\\n\r\t\b\f";
    static constexpr std::string_view kLetters = "\"\\nrtbf";
    if (const size_t known = code < 0x80 ? kPlain.find(static_cast<char>(code)) : std::string_view::npos; known != std::string_view::npos) {
      result += '\\';
      result += kLetters[known];
    } else if (code < 0x20 || (ascii && code > 0x7e && code < 0x10000)) {
      append_escape(result, "\\u%04x", code);
    } else if (ascii && code >= 0x10000) {
      append_escape(result, "\\u%04x", 0xd800 + ((code - 0x10000) >> 10));
      append_escape(result, "\\u%04x", 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
      result += text.substr(begin, at - begin);
    }
  }
  return result + "\"";
}

}  // namespace lora::tokenizer::jinja
