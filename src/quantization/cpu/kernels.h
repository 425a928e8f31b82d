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

/// One block of 8-bit codes, as bitsandbytes' CPU code finds them: codes[i] is that of the number in `nearest`, 65536 codes for evenly
/// spaced numbers from -1 to 1, next to values[i] / absmax. Returns absmax. A block of zeros has codes 0.
float quantize_block8(const float* values, int64_t count, const uint8_t* nearest, uint8_t* codes);

/// codes[i] = values[i] · (1 / absmax · 127), rounded to the nearest even integer. Returns absmax, as quantize_block4 does.
float quantize_row8(const float* values, int64_t count, int8_t* codes);

/// Scales that are quantised themselves: out[i] = map[codes[i]] · absmax[(first + i) / block_size] + offset.
/// @param first the number of the first block among all
void expand_scales(const uint8_t* codes, int64_t first, int64_t count, const float* absmax, int64_t block_size, const float* map,
                   float offset, float* out);

/// The instructions that a kernel may use.
enum class Simd { kPlain, kAvx2, kAvx512 };
/// Whether the processor has them.
bool supports(Simd simd);
/// The best that it supports.
Simd best_simd();

/// Parts of rows are fetched this many rows ahead: the processor foresees only what lies one after the other.
constexpr int64_t kRowsAhead = 6;
/// Asks for the cache lines of `bytes` bytes.
inline void fetch(const void* begin, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t i = 0; i < bytes; i += kLine) {
    __builtin_prefetch(static_cast<const char*>(begin) + i);
  }
}

/// Values by code, for each of `blocks` scales: tables[b][code] = codebook[code] · absmax[b], rounded to V and then to S.
template <typename V, typename S>
void make_tables4(const float* codebook, const float* absmax, int64_t blocks, S* tables);

/// out[2 i] and out[2 i + 1] from the two codes of each of `pairs` bytes, by a table of 16.
template <typename S>
void look_up_pairs(const uint8_t* codes, int64_t pairs, const S* table, S* out);
/// The same for whole blocks of `pairs` bytes, a multiple of 16, with a table for each.
template <typename S>
void look_up_blocks(const uint8_t* codes, int64_t blocks, int64_t pairs, const S* tables, S* out, Simd simd);

/// Both steps: the values of whole blocks of `pairs` bytes, a multiple of 16.
template <typename V, typename S>
void decode_blocks4(const uint8_t* codes, int64_t blocks, int64_t pairs, const float* codebook, const float* absmax, S* out, Simd simd);

/// Inputs of multiply_row4 are in the order in which it needs them: of every kChunk, first those of the first element of each 4 bytes of
/// codes, then those of the second, …
constexpr int64_t kChunk = 128;
/// A whole number of chunks for `columns` inputs; those at the end are 0.
constexpr int64_t prepared_size(int64_t columns) {
  return (columns + kChunk - 1) / kChunk * kChunk;
}
void prepare_inputs4(const float* x, int64_t columns, float* prepared);

/// One row of 4-bit codes. Its number of columns is a multiple of 8.
struct Row4 {
  const uint8_t* codes;
  int64_t columns;
  const float* codebook;
  const float* scales;  ///< of the row's blocks, and 16 more numbers that are not used
  int64_t offset;       ///< of the row's first element in its block, a multiple of 8
  int block_bits;       ///< a block has 2^block_bits elements
};
/// sums[n] = Σ codebook[codes[i]] scale[i] x[n, i] in float32 for `count` vectors x, with prepared inputs, prepared_size(columns) apart.
void multiply_row4(const Row4& row, const float* prepared, int64_t count, Simd simd, float* sums);

/// bitsandbytes' 1 / 127.
constexpr float kInt8Unit = 7.874015718698502e-3F;
/// out[i] = codes[i] · scale · (1 / 127), rounded to V and then to S.
template <typename V, typename S>
void decode_int8(const int8_t* codes, int64_t count, float scale, S* out, Simd simd);
/// sums[n] = Σ codes[i] x[n, i] in float32, for `count` vectors x.
void multiply_int8(const int8_t* codes, int64_t columns, const float* x, int64_t count, Simd simd, float* sums);

}  // namespace lora::quantization::cpu
