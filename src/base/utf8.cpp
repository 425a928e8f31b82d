// The functions of text.h that work on code points.
#include <array>
#include <cstdio>

#include "base/utf8.h"
#include "lora/base/text.h"

namespace lora {

namespace {

unsigned byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

}  // namespace

size_t code_point_length(std::string_view text, size_t at) {
  const unsigned lead = byte_at(text, at);
  if (lead < 0x80) {
    return 1;
  }
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || length > text.size() - at) {
    return 0;
  }
  unsigned low = 0x80;
  unsigned high = 0xbf;
  low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;    // shorter forms exist
  high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;  // surrogates; beyond U+10FFFF
  for (size_t i = 1; i < length; ++i) {
    const unsigned byte = byte_at(text, at + i);
    if (byte < low || byte > high) {
      return 0;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

unsigned code_point_at(std::string_view text, size_t at, size_t length) {
  const unsigned lead = byte_at(text, at);
  unsigned value = length == 1 ? lead : lead & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    value = value << 6 | (byte_at(text, at + i) & 0x3fU);
  }
  return value;
}

namespace {

std::string escaped(const char* format, unsigned value) {
  std::array<char, 16> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}

/// The code point of `length` bytes at `at` as a message shows it; `length` 0 is a byte that is not UTF-8.
std::string shown_code_point(std::string_view text, size_t at, size_t length) {
  const unsigned byte = byte_at(text, at);
  if (length == 0) {
    return escaped("\\x%02x", byte);
  }
  if (length == 1 && (byte < 0x20 || byte == 0x7f)) {
    return byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : byte == '\r' ? "\\r" : escaped("\\x%02x", byte);
  }
  if (length == 2 && byte == 0xc2 && byte_at(text, at + 1) < 0xa0) {
    return escaped("\\u%04x", byte_at(text, at + 1));  // C1 control characters also control terminals
  }
  return std::string(text.substr(at, length));
}

/// Whether the bracket expression that begins at `pattern[open]` holds `c`; sets `next` to the index after it, or to
/// npos if it is never closed.
bool bracket_matches(std::string_view pattern, size_t open, char c, size_t& next) {
  size_t at = open + 1;
  const bool negated = at < pattern.size() && (pattern[at] == '!' || pattern[at] == '^');
  at += negated ? 1 : 0;
  bool found = false;
  for (const size_t first = at; at < pattern.size(); ++at) {
    if (pattern[at] == ']' && at > first) {
      next = at + 1;
      return found != negated;
    }
    char high = pattern[at];
    const char low = high;
    if (at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
      high = pattern[at + 2];
      at += 2;
    }
    found = found || (low <= c && c <= high);
  }
  next = std::string_view::npos;
  return false;
}

/// Matches one pattern element other than '*' against text[t]. On a match, moves both indices past it.
bool match_one(std::string_view pattern, size_t& p, std::string_view text, size_t& t) {
  if (pattern[p] == '?' && text[t] != '/') {
    const size_t length = code_point_length(text, t);
    t += length == 0 ? 1 : length;
    ++p;
    return true;
  }
  if (pattern[p] == '[') {
    size_t next = 0;
    const bool matches = bracket_matches(pattern, p, text[t], next);
    if (next != std::string_view::npos) {
      p = matches && text[t] != '/' ? next : p;
      t += matches && text[t] != '/' ? 1 : 0;
      return matches && p == next;
    }
  }
  if (pattern[p] != text[t]) {
    return false;
  }
  ++p;
  ++t;
  return true;
}

}  // namespace

size_t invalid_utf8_at(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = code_point_length(text, at);
    if (length == 0) {
      return at;
    }
    at += length;
  }
  return std::string_view::npos;
}

bool matches_glob(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // only the last '*' can still match more: an earlier one is fixed by what followed it
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && match_one(pattern, p, text, t)) {
      continue;
    } else if (star != std::string_view::npos && text[star_text] != '/') {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

std::string printable(std::string_view text, size_t limit) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t length = code_point_length(text, at);
    const std::string piece = shown_code_point(text, at, length);
    if (result.size() + piece.size() > limit) {
      return result + "…";
    }
    result += piece;
    at += length == 0 ? 1 : length;
  }
  return result;
}

}  // namespace lora
