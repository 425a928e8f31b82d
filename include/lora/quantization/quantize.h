#pragma once
#include <memory>
#include <string>

#include "lora/base/enum_table.h"
#include "lora/io/packed_matrix.h"

namespace lora::quantization {

using at::Tensor;

enum class QuantizationType { kNf4, kFp4, kInt8 };

inline constexpr EnumTable<QuantizationType, 3> kQuantizationTypes{
    {{{QuantizationType::kNf4, "nf4"}, {QuantizationType::kFp4, "fp4"}, {QuantizationType::kInt8, "int8"}}}};

/// The defaults are those of transformers' BitsAndBytesConfig.
struct QuantizationOptions {
  QuantizationType type = QuantizationType::kNf4;
  bool double_quant = false;  ///< of the scales too; only of 4-bit types
  int64_t block_size = 64;    ///< elements per scale, a power of two from 32 to 4096; only of 4-bit types
};

/// W [O, I] (float32, bfloat16 or float16, on the CPU) in few bits, with the bytes of bitsandbytes' CPU code; blocks of zeros have its
/// values, maybe with other bytes. Its value_dtype() is W's dtype. Runs on all threads, whose number does not change the bytes.
/// @param where for errors: file and tensor. Throws model Error if W has values that are not finite.
std::shared_ptr<const io::PackedMatrix> quantize(const Tensor& W_OI, const QuantizationOptions& options,
                                                 const std::string& where = "quantization");

}  // namespace lora::quantization
