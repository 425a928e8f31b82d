// The CPU arithmetic of packed formats, for one thread, without torch headers. Every sum has a fixed order and no product is contracted
// with a sum (-ffp-contract=off), so that the bits are the same on AVX-512, AVX2 and any other processor.
#pragma once
#include <array>
#include <cstdint>

#include "lora/base/elements.h"

namespace lora::quantization::cpu {

/// out[i] = values[i] for i in [0, count), in float32.
template <typename S>
void widen(const S* values, int64_t count, float* out);

/// What a number is compared with to find its 4-bit code.
struct Codebook4 {
  std::array<float, 15> midpoints;  ///< of neighbouring values, ascending
  std::array<uint8_t, 16> codes;    ///< of the values in ascending order
};

/// Quantises one block: the code of each of x [count] is that of the number of midpoints below x / absmax, where absmax is the largest
/// magnitude. A whole block is multiplied by the reciprocal, a partial one is divided, as bitsandbytes does. Returns absmax, which is
/// not finite if x has a value that is not; then no codes are written.
float quantize_block4(const float* x, int64_t count, bool whole, const Codebook4& codebook, uint8_t* codes);

/// Two codes to a byte, the first in the high half. An odd last one is paired with `padding`.
void pack_nibbles(const uint8_t* codes, int64_t count, uint8_t padding, uint8_t* bytes);

/// codes[i] = values[i] · (1 / absmax · 127), rounded to the nearest even integer. Returns absmax, as quantize_block4 does.
float quantize_row8(const float* values, int64_t count, int8_t* codes);

/// Values by code, for each of `blocks` scales: tables[b][code] = codebook[code] · absmax[b], rounded to V and then to S.
template <typename V, typename S>
void make_tables4(const float* codebook, const float* absmax, int64_t blocks, S* tables);

/// out[2 i] and out[2 i + 1] from the two codes of each of `pairs` bytes, by a table of 16.
template <typename S>
void look_up_pairs(const uint8_t* codes, int64_t pairs, const S* table, S* out);

/// out[i] = codes[i] · scale · (1 / 127), rounded to V and then to S.
template <typename V, typename S>
void decode_int8(const int8_t* codes, int64_t count, float scale, S* out);

}  // namespace lora::quantization::cpu
