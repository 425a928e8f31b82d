#pragma once
#include <cstdint>

#include "lora/base/elements.h"
#include "lora/ops/gguf_block.h"

namespace lora::quantization {

using ops::GgufBlock;

/// Writes the values of `count` blocks, one after the other, to `out`: the same bits as the gguf package's `dequantize`.
void decode_gguf(GgufBlock format, const uint8_t* blocks, int64_t count, float* out);

/// Whether the float16 scales of blocks of `block_bytes` bytes each, `bytes` in all, are neither NaN nor infinite.
bool has_finite_scales(GgufBlock format, const uint8_t* blocks, int64_t bytes, int64_t block_bytes);

/// Rounds `count` values to the nearest, ties to even.
void narrow_gguf(const float* from, int64_t count, BFloat16* to);
void narrow_gguf(const float* from, int64_t count, Half* to);

/// Adds a[i] b[i] to sums[i % 16], so that the order does not depend on the processor. `count` is a multiple of 16.
void add_products(const float* a, const float* b, int64_t count, float* sums);

}  // namespace lora::quantization
