#pragma once
#include <cstdint>
#include <string_view>

namespace lora::image {

/// Numbers in a file's bytes. The caller checks that they are there.
inline uint32_t big_16(std::string_view bytes, size_t offset) {
  return static_cast<uint32_t>(static_cast<uint8_t>(bytes[offset])) << 8 | static_cast<uint8_t>(bytes[offset + 1]);
}
inline uint32_t big_32(std::string_view bytes, size_t offset) {
  return big_16(bytes, offset) << 16 | big_16(bytes, offset + 2);
}
inline uint32_t little_16(std::string_view bytes, size_t offset) {
  return static_cast<uint32_t>(static_cast<uint8_t>(bytes[offset + 1])) << 8 | static_cast<uint8_t>(bytes[offset]);
}
inline uint32_t little_32(std::string_view bytes, size_t offset) {
  return little_16(bytes, offset + 2) << 16 | little_16(bytes, offset);
}

}  // namespace lora::image
