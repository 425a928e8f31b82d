#include "quantization/cpu/scaled_codes.h"

#include <cmath>
#include <cstring>

namespace lora::quantization::cpu {

namespace {

LORA_INLINE uint8_t one_code(const uint8_t* row, int64_t index, int64_t bits) {
  const int64_t bit = index * bits;
  uint32_t word = row[bit >> 3];
  if ((bit & 7) + bits > 8) {
    word |= static_cast<uint32_t>(row[(bit >> 3) + 1]) << 8;
  }
  return static_cast<uint8_t>((word >> (bit & 7)) & ((1U << bits) - 1));
}

template <typename V>
LORA_INLINE float scaled_value(float value, Scale scale) {
  return rounded<V>(rounded<V>(rounded<V>(value) - scale.zero) * scale.scale);
}

LORA_INLINE float value_of(uint8_t code, CodeKind kind, const float* table) {
  switch (kind) {
    case CodeKind::kUnsigned:
      return static_cast<float>(code);
    case CodeKind::kSigned:
      return static_cast<float>(static_cast<int8_t>(code));
    case CodeKind::kTable:
      break;
  }
  return table[code];
}

/// A loop for each kind, so that those without a table are vectorised without gathering.
template <CodeKind kKind, typename V, typename S>
LORA_INLINE void scale_all(const uint8_t* codes, int64_t count, const float* table, Scale scale, S* out) {
  if (kKind != CodeKind::kTable && scale.zero == std::trunc(scale.zero) && scale.zero >= 0 && scale.zero < 256) {
    // Integers below 256 and their differences are exact in every V, so that only the product is rounded.
    for (int64_t i = 0; i < count; ++i) {
      out[i] = narrowed<S>(rounded<V>((value_of(codes[i], kKind, table) - scale.zero) * scale.scale));
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    out[i] = narrowed<S>(scaled_value<V>(value_of(codes[i], kKind, table), scale));
  }
}

}  // namespace

LORA_SIMD void unpack_codes(const uint8_t* row, int64_t begin, int64_t count, int64_t bits, uint8_t* codes) {
  int64_t done = 0;
  if (bits == 8) {
    std::memcpy(codes, row + begin, static_cast<size_t>(count));
    return;
  }
  if (bits == 4) {
    for (; done < count && (begin + done) % 2 != 0; ++done) {
      codes[done] = one_code(row, begin + done, bits);
    }
    const uint8_t* bytes = row + (begin + done) / 2;
    uint8_t* const to = codes + done;
    const int64_t pairs = (count - done) / 2;
    for (int64_t i = 0; i < pairs; ++i) {
      to[2 * i] = bytes[i] & 15;
      to[2 * i + 1] = static_cast<uint8_t>(bytes[i] >> 4);
    }
    done += 2 * pairs;
  }
  for (; done < count; ++done) {
    codes[done] = one_code(row, begin + done, bits);
  }
}

template <typename V, typename S>
LORA_SIMD void scale_codes(const uint8_t* codes, int64_t count, CodeKind kind, const float* table, Scale scale, S* out) {
  switch (kind) {
    case CodeKind::kUnsigned:
      scale_all<CodeKind::kUnsigned, V>(codes, count, table, scale, out);
      return;
    case CodeKind::kSigned:
      scale_all<CodeKind::kSigned, V>(codes, count, table, scale, out);
      return;
    case CodeKind::kTable:
      scale_all<CodeKind::kTable, V>(codes, count, table, scale, out);
      return;
  }
}

template <typename V, typename S>
LORA_SIMD void scale_codes_of_groups(const uint8_t* codes, int64_t count, const int32_t* groups, CodeKind kind, const float* table,
                                     const Scale* scales, S* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = narrowed<S>(scaled_value<V>(value_of(codes[i], kind, table), scales[groups[i]]));
  }
}

template <typename V, typename S>
LORA_SIMD void make_scale_tables(CodeKind kind, const float* table, const Scale* scales, int64_t count, S* tables) {
  constexpr uint8_t kAll[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t g = 0; g < count; ++g) {
    if (kind == CodeKind::kUnsigned) {
      scale_all<CodeKind::kUnsigned, V>(kAll, 16, table, scales[g], tables + g * 16);
    } else {
      scale_all<CodeKind::kTable, V>(kAll, 16, table, scales[g], tables + g * 16);
    }
  }
}

template <typename S>
LORA_SIMD void look_up_codes(const uint8_t* codes, int64_t count, const int32_t* groups, const S* tables, S* out) {
  if (groups == nullptr) {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = tables[codes[i]];
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    out[i] = tables[groups[i] * int64_t{16} + codes[i]];
  }
}

#define LORA_INSTANTIATE(V, S)                                                                     \
  template void scale_codes<V, S>(const uint8_t*, int64_t, CodeKind, const float*, Scale, S*);     \
  template void make_scale_tables<V, S>(CodeKind, const float*, const Scale*, int64_t, S*);         \
  template void scale_codes_of_groups<V, S>(const uint8_t*, int64_t, const int32_t*, CodeKind, const float*, const Scale*, S*);
#define LORA_INSTANTIATE_FOR(S) \
  template void look_up_codes<S>(const uint8_t*, int64_t, const int32_t*, const S*, S*); \
  LORA_INSTANTIATE(float, S)    \
  LORA_INSTANTIATE(BFloat16, S) \
  LORA_INSTANTIATE(Half, S)
LORA_INSTANTIATE_FOR(float)
LORA_INSTANTIATE_FOR(BFloat16)
LORA_INSTANTIATE_FOR(Half)
#undef LORA_INSTANTIATE_FOR
#undef LORA_INSTANTIATE

}  // namespace lora::quantization::cpu
