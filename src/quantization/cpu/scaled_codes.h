// The arithmetic of codes with scales on a grid, for one thread, without torch headers. See lora/quantization/scaled_codes.h.
#pragma once
#include <cstdint>

#include "lora/base/elements.h"

namespace lora::quantization::cpu {

/// The codes [begin, begin + count) of a row whose codes of `bits` bits (1 to 8) are one little-endian bit stream, a byte each. Reads no
/// byte after the last that holds one of these codes.
void unpack_codes(const uint8_t* row, int64_t begin, int64_t count, int64_t bits, uint8_t* codes);

/// What a code stands for: the number itself, the number as int8, or an entry of a table.
enum class CodeKind { kUnsigned, kSigned, kTable };

/// The scale of values that share one, and what is subtracted from them before.
struct Scale {
  float zero;
  float scale;
};

/// out[i] = (value(codes[i]) - zero) · scale, where value, difference and product are each rounded to V, and the result to S.
/// @param table of 2^bits values; only for kTable.
template <typename V, typename S>
void scale_codes(const uint8_t* codes, int64_t count, CodeKind kind, const float* table, Scale scale, S* out);

/// The same where each code has a scale of its own: scales[groups[i]].
template <typename V, typename S>
void scale_codes_of_groups(const uint8_t* codes, int64_t count, const int32_t* groups, CodeKind kind, const float* table,
                           const Scale* scales, S* out);

/// Codes of at most 4 bits take few values: tables[g][code], 16 for each scale, hold what scale_codes gives for it.
template <typename V, typename S>
void make_scale_tables(CodeKind kind, const float* table, const Scale* scales, int64_t count, S* tables);

/// out[i] = tables[groups[i]][codes[i]], or tables[0][codes[i]] if groups is null.
template <typename S>
void look_up_codes(const uint8_t* codes, int64_t count, const int32_t* groups, const S* tables, S* out);

}  // namespace lora::quantization::cpu
