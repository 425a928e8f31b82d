#include "tokenizer/unicode/lossy_utf8.h"

#include "lora/base/text.h"

namespace lora::tokenizer {
namespace {

/// The number of bytes at the beginning of `bytes` that form a truncated character; at least 1.
size_t maximal_subpart(std::string_view bytes) {
  const auto byte = [&bytes](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead >= 0xc2 && lead < 0xe0 ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 1;
  // No overlong forms, no surrogates, nothing above U+10FFFF.
  const unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  size_t size = 1;
  while (size < length && size < bytes.size() && byte(size) >= (size == 1 ? least : 0x80) && byte(size) <= (size == 1 ? most : 0xbf)) {
    ++size;
  }
  return size;
}

}  // namespace

std::string lossy_utf8(std::string_view bytes) {
  std::string text;
  while (true) {
    const size_t invalid = invalid_utf8_at(bytes);
    if (invalid == std::string_view::npos) {
      return text.append(bytes);
    }
    text.append(bytes.substr(0, invalid)).append(kReplacementCharacter);
    bytes.remove_prefix(invalid);
    bytes.remove_prefix(maximal_subpart(bytes));
  }
}

}  // namespace lora::tokenizer
