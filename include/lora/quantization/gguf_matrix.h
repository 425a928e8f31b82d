#pragma once
#include <memory>
#include <optional>

#include "lora/io/gguf_file.h"
#include "lora/io/packed_matrix.h"
#include "lora/ops/gguf_block.h"

namespace lora::quantization {

using at::Tensor;

/// Whether a type's blocks can be decoded, so that a matrix stays packed. (F32, F16 and BF16 are plain numbers.)
bool is_gguf_block(const io::GgufType& type);
/// Which of those it is; nothing for another type.
std::optional<ops::GgufBlock> gguf_block(const io::GgufType& type);

/// The names of those types, for messages.
std::string gguf_block_names();

/// A matrix W [O, I] in ggml's blocks: Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4. Its values are float32, the same bits as the
/// gguf package's `dequantize`. On a GPU without the program's own kernels it becomes a plain matrix in bfloat16.
/// @param blocks uint8 [bytes], which may be mapped memory; rows follow each other.
/// Throws model Error for a type whose blocks cannot be decoded, and for the wrong number of bytes.
std::shared_ptr<const io::PackedMatrix> gguf_matrix(Tensor blocks, int64_t out_features, int64_t in_features, const io::GgufType& type);

}  // namespace lora::quantization
