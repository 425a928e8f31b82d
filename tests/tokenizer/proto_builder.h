#pragma once
#include <cstdint>
#include <cstring>
#include <string>

namespace lora::test {

/// Builds parts of a Protocol Buffers message, for models that no trainer would write.
inline std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(value | 0x80);
  }
  return bytes + static_cast<char>(value);
}

inline std::string number_field(uint32_t number, uint64_t value) {
  return varint(number << 3) + varint(value);
}

inline std::string bytes_field(uint32_t number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}

inline std::string float_field(uint32_t number, float value) {
  char bytes[4];
  std::memcpy(bytes, &value, 4);
  return varint(number << 3 | 5) + std::string(bytes, 4);
}

enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

inline std::string piece(const std::string& text, PieceType type = kNormal, float score = -1.0F) {
  return bytes_field(1, bytes_field(1, text) + float_field(2, score) + number_field(3, type));
}

/// A valid unigram model of a few pieces.
inline std::string small_model() {
  return piece("<unk>", kUnknown) + piece("<s>", kControl) + piece("</s>", kControl) + piece("\xe2\x96\x81") + piece("a") + piece("b") +
         piece("ab", kNormal, -0.5F);
}

inline std::string little_endian(uint32_t value) {
  char bytes[4];
  for (int i = 0; i < 4; ++i) {
    bytes[i] = static_cast<char>(value >> (8 * i));
  }
  return {bytes, 4};
}

/// A model whose normalisation table has the given trie units and replacements.
inline std::string model_with_charsmap(const std::string& blob) {
  return small_model() + bytes_field(3, bytes_field(2, blob));
}

}  // namespace lora::test
