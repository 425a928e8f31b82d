#pragma once
#include <cstdint>

#include "lora/base/enum_table.h"

namespace lora::io {

/// Element types of the safetensors format, under the format's names and in its order: the writer sorts tensors by it,
/// descending (widest alignment first).
enum class Dtype { kBool, kU8, kI8, kF8E5M2, kF8E4M3, kF8E8M0, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kF64, kI64, kU64 };

inline constexpr EnumTable<Dtype, 16> kDtypes{{{{Dtype::kBool, "BOOL"},
                                                {Dtype::kU8, "U8"},
                                                {Dtype::kI8, "I8"},
                                                {Dtype::kF8E5M2, "F8_E5M2"},
                                                {Dtype::kF8E4M3, "F8_E4M3"},
                                                {Dtype::kF8E8M0, "F8_E8M0"},
                                                {Dtype::kI16, "I16"},
                                                {Dtype::kU16, "U16"},
                                                {Dtype::kF16, "F16"},
                                                {Dtype::kBF16, "BF16"},
                                                {Dtype::kI32, "I32"},
                                                {Dtype::kU32, "U32"},
                                                {Dtype::kF32, "F32"},
                                                {Dtype::kF64, "F64"},
                                                {Dtype::kI64, "I64"},
                                                {Dtype::kU64, "U64"}}}};

/// Bytes per element.
int64_t size_of(Dtype dtype);

}  // namespace lora::io
