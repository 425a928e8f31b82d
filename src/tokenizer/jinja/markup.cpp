#include "tokenizer/jinja/markup.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <unordered_map>

#include "tokenizer/jinja/python_text.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

#include "tokenizer/jinja/entities.inc"

constexpr char32_t kReplacement = 0xfffd;

struct Entity {
  std::string text;
  bool needs_semicolon;
};
using Entities = std::unordered_map<std::string_view, Entity>;

/// Removes and returns the next word of a list with a space after each word.
std::string_view next_word(std::string_view& words) {
  const std::string_view word = words.substr(0, words.find(' '));
  words.remove_prefix(word.size() + 1);
  return word;
}

const Entities& entities() {
  static const Entities kAll = [] {
    Entities all;
    for (std::string_view words = kEntities; !words.empty();) {
      std::string_view name = next_word(words);
      const std::string_view codes = next_word(words);
      std::string text;
      for (const char* at = codes.data(); at < codes.data() + codes.size(); ++at) {
        uint32_t code = 0;
        at = std::from_chars(at, codes.data() + codes.size(), code, 16).ptr;
        append_utf8(text, code);
      }
      const bool needs_semicolon = !name.ends_with('*');
      name.remove_suffix(needs_semicolon ? 0 : 1);
      all.emplace(name, Entity{std::move(text), needs_semicolon});
    }
    return all;
  }();
  return kAll;
}

/// The character of a number in HTML 5: Windows-1252 replaces the C1 control characters; invalid numbers give no character.
std::string text_of_number(uint32_t code) {
  static constexpr char32_t kWindows1252[] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
                                              0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                              0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
  std::string text;
  if (code >= 0x80 && code < 0xa0) {
    append_utf8(text, kWindows1252[code - 0x80]);
  } else if (code == 0 || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) {
    append_utf8(text, kReplacement);
  } else if (const bool is_control = (code < 0x20 && code != '\t' && code != '\n' && code != '\f' && code != '\r') || code == 0x7f;
             !is_control && (code < 0xfdd0 || code > 0xfdef) && (code & 0xfffe) != 0xfffe) {
    append_utf8(text, code);
  }
  return text;
}

/// The text of the reference "&#..." at the beginning, whose length is stored in `size`; size 0: it is not a reference.
std::string numeric_reference(std::string_view text, size_t& size) {
  const bool is_hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  const size_t begin = is_hex ? 3 : 2;
  size_t end = begin;
  const auto is_digit_of_base = [is_hex](unsigned char c) { return is_hex ? std::isxdigit(c) != 0 : std::isdigit(c) != 0; };
  while (end < text.size() && is_digit_of_base(static_cast<unsigned char>(text[end]))) {
    ++end;
  }
  if (end == begin) {
    size = 0;
    return "";
  }
  uint32_t code = 0;
  const auto result = std::from_chars(text.data() + begin, text.data() + end, code, is_hex ? 16 : 10);
  size = end + (end < text.size() && text[end] == ';' ? 1 : 0);
  return text_of_number(result.ec == std::errc() ? code : UINT32_MAX);
}

/// The text of the reference "&name;" at the beginning. For an unknown name, its longest prefix that is valid without a semicolon is used.
std::string named_reference(std::string_view text, size_t& size) {
  constexpr size_t kLongestName = 32;  // characters
  const size_t limit = std::min(text.find_first_of("\t\n\f <&#;", 1), text.size());
  size_t end = 1;
  for (size_t i = 0; i < kLongestName && end < limit; ++i) {
    end += utf8_length(static_cast<unsigned char>(text[end]));
  }
  const std::string_view name = text.substr(1, end - 1);
  const bool has_semicolon = end < text.size() && text[end] == ';';
  const auto whole = entities().find(name);
  if (whole != entities().end() && (has_semicolon || !whole->second.needs_semicolon)) {
    size = end + (has_semicolon ? 1 : 0);
    return whole->second.text;
  }
  for (size_t length = name.size(); length > 1; --length) {
    const auto found = entities().find(name.substr(0, length));
    if (found != entities().end() && !found->second.needs_semicolon) {
      size = length + 1;
      return found->second.text;
    }
  }
  size = end;
  return std::string(text.substr(0, end));
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const std::string_view reference = c == '&'    ? "&amp;"
                                       : c == '<'  ? "&lt;"
                                       : c == '>'  ? "&gt;"
                                       : c == '"'  ? "&#34;"
                                       : c == '\'' ? "&#39;"
                                                   : "";
    reference.empty() ? result += c : result += reference;
  }
  return result;
}

std::string unescaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t plain = std::min(text.find('&'), text.size());
    result += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) {
      break;
    }
    size_t size = 0;
    const std::string reference = text.starts_with("&#") ? numeric_reference(text, size) : named_reference(text, size);
    result += size == 0 ? "&" : reference;
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return result;
}

std::string without_tags(std::string_view text) {
  std::string kept;
  for (size_t start = text.find('<'); start != std::string_view::npos; start = text.find('<')) {
    const bool is_comment = text.substr(start).starts_with("<!--");
    const size_t end = is_comment ? text.find("-->", start + 4) : text.find('>', start);
    if (end == std::string_view::npos) {
      break;  // an unclosed tag is text
    }
    kept += text.substr(0, start);
    text.remove_prefix(end + (is_comment ? 3 : 1));
  }
  kept += text;
  std::string spaced;
  for (const std::string& word : split_text(kept, std::nullopt, -1, false)) {
    spaced += (spaced.empty() ? "" : " ") + word;
  }
  return unescaped(spaced);
}

std::string percent_encoded(std::string_view text, std::string_view safe) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_kept = byte < 0x80 && (std::isalnum(byte) != 0 || std::string_view("_.-~").find(c) != std::string_view::npos ||
                                         safe.find(c) != std::string_view::npos);
    if (is_kept) {
      result += c;
    } else {
      result += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return result;
}

}  // namespace lora::tokenizer::jinja
