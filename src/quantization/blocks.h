// Sizes that files may name.
#pragma once
#include <bit>
#include <cstdint>

namespace lora::quantization {

/// The most rows, and the most columns, of a packed matrix: their product is below 2^63.
constexpr int64_t kMostSize = int64_t{1} << 31;

/// Whether the 4-bit formats can have blocks of this size: a power of two from 32 to 4096.
constexpr bool is_block_size(int64_t size) {
  return size >= 32 && size <= 4096 && std::has_single_bit(static_cast<uint64_t>(size));
}

/// How many blocks of `size` cover `count`, for any positive size.
constexpr int64_t blocks_of(int64_t count, int64_t size) {
  return count / size + (count % size != 0 ? 1 : 0);
}

}  // namespace lora::quantization
