// Products of small blocks by one thread, with oneDNN's kernel for them.
#pragma once
#include <cstdint>

namespace lora::ops::cpu {

/// c [M, N] = a [M, K] b [K, N], or added to c. Rows of a are `a_stride` elements apart; b is a right_tile (attention_tiles.h). For each
/// M, N, K and stride a kernel is compiled once. S: float or BFloat16.
template <typename S>
void block_product(int64_t M, int64_t N, int64_t K, const S* a, int64_t a_stride, const S* b, float* c, bool add);

/// A thread calls it after its last product: it gives the processor's tiles back.
void end_block_products();

/// Whether the processor multiplies pairs of bfloat16, which block_product needs for them.
bool multiplies_bfloat16();

}  // namespace lora::ops::cpu
