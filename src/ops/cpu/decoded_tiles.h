// Results of products with decoded blocks: sums in float32 become elements, rounded once.
#pragma once
#include "ops/cpu/elements.h"

namespace lora::ops::cpu {

/// y[t, o] = sums[o, t] + bias[o] for t in [0, tokens), with sums [rows, kTile]; rows of y are `stride` elements apart. No bias: null.
void store_transposed(const float* sums, int64_t rows, int64_t tokens, const BFloat16* bias, BFloat16* y, int64_t stride);

/// out[r, i] = sums[r, i], or added to out, with sums [rows, columns] of at most kTile columns; rows of out are `stride` elements apart.
void store_rows(const float* sums, int64_t rows, int64_t columns, bool add, BFloat16* out, int64_t stride);

}  // namespace lora::ops::cpu
