#include "tokenizer/jinja/string_escapes.h"

#include <charconv>

#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

constexpr std::string_view kLetters = "\\'\"abfnrtv";
constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";

/// The code point of at most `size` digits; moves `at` past them.
char32_t number(std::string_view literal, size_t& at, size_t size, int base, bool exactly, Position where) {
  const std::string_view digits = literal.substr(at, size);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  const auto length = static_cast<size_t>(end - digits.data());
  if (error != std::errc() || (exactly && length != size) || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    throw Failure(where, "a string has an escape that is no character: found '\\" + std::string(literal.substr(at - 1, size + 1)) + "'");
  }
  at += length;
  return value;
}

}  // namespace

std::string unescaped(std::string_view literal, Position where) {
  std::string text;
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\' || at + 1 == literal.size()) {
      text += literal[at++];
      continue;
    }
    const char letter = literal[at + 1];
    at += 2;
    if (const size_t known = kLetters.find(letter); known != std::string_view::npos) {
      text += kMeanings[known];
    } else if (letter >= '0' && letter <= '7') {
      append_utf8(text, number(literal, --at, 3, 8, false, where));
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      append_utf8(text, number(literal, at, letter == 'x' ? 2 : letter == 'u' ? 4 : 8, 16, true, where));
    } else if (letter == 'N') {
      throw Failure(where, "a string has the escape '\\N', which is not supported. Write the character itself");
    } else if (letter != '\n') {
      text += '\\';
      text += letter;
    }
  }
  return text;
}

}  // namespace lora::tokenizer::jinja
