#pragma once
#include <memory>
#include <string>

#include "lora/io/packed_matrix.h"

namespace lora::quantization {

/// MXFP4 (OCP Microscaling Formats 1.0) as gpt-oss stores one expert's matrix: 4-bit floating-point codes, two to a byte with the first in
/// the low half, and a scale 2^(byte - 127) for each 32 of a row. Values are bfloat16, as in transformers.
/// @param blocks uint8 [rows, G, 16]
/// @param scales uint8 [rows, G]
/// @param where for errors: file and tensor. Throws model Error if a part has another shape or dtype, and for the scale 255 (NaN).
std::shared_ptr<const io::PackedMatrix> mxfp4_matrix(const at::Tensor& blocks, const at::Tensor& scales, const std::string& where);

}  // namespace lora::quantization
