#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// The number of bytes of the character that begins with `lead`. The text must be valid UTF-8, here and below.
inline size_t utf8_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/// The code point that begins at text[at]; moves `at` past it.
inline char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&text](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = byte(at);
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  const auto tail = [&byte, begin = at](size_t i) { return byte(begin + i) & 0x3f; };
  const size_t length = utf8_length(static_cast<unsigned char>(lead));
  at += length;
  switch (length) {
    case 2:
      return (lead & 0x1f) << 6 | tail(1);
    case 3:
      return (lead & 0x0f) << 12 | tail(1) << 6 | tail(2);
    default:
      return (lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
  }
}

/// The offset of the character before `end`.
inline size_t previous_begin(std::string_view text, size_t end) {
  do {
    --end;
  } while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

inline void append_utf8(std::string& text, char32_t code) {
  const auto put = [&text](char32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

}  // namespace lora::tokenizer
