#include "tokenizer/json/byte_level.h"

#include <array>

#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

// Printable Latin-1 characters represent themselves; the other bytes are numbered from 256.
struct ByteTable {
  std::array<char32_t, 256> characters{};
  std::array<std::optional<unsigned char>, 324> bytes{};

  ByteTable() {
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      characters[byte] = is_printable ? byte : next++;
      bytes[characters[byte]] = static_cast<unsigned char>(byte);
    }
  }
};

const ByteTable& table() {
  static const ByteTable made;
  return made;
}

}  // namespace

char32_t byte_character(unsigned char byte) {
  return table().characters[byte];
}

std::optional<unsigned char> character_byte(char32_t code) {
  return code < table().bytes.size() ? table().bytes[code] : std::nullopt;
}

std::string spell_bytes(std::string_view text) {
  std::string spelt;
  spelt.reserve(text.size() * 2);
  for (const char byte : text) {
    append_utf8(spelt, byte_character(static_cast<unsigned char>(byte)));
  }
  return spelt;
}

}  // namespace lora::tokenizer
