// Products with packed matrices in bfloat16 on the CPU: small blocks of W are decoded into a processor's own cache and multiplied there,
// so that no decoded number is written to memory. T tokens, I inputs, O outputs.
#pragma once
#include <optional>

#include "lora/io/packed_matrix.h"

namespace lora::ops::cpu {

using at::Tensor;

/// Whether these products are faster than those with whole tiles: on a processor that multiplies pairs of bfloat16.
bool multiplies_decoded_blocks(const io::PackedMatrix& matrix, at::ScalarType dtype);

/// y_TO = x_TI Wᵀ + b, rounded once. y_TO is contiguous.
void multiply_decoded(const io::PackedMatrix& matrix, const Tensor& x_TI, const std::optional<Tensor>& bias_O, const Tensor& y_TO);

/// dx_TI = dy_TO W, or added to dx_TI, rounded once. Rows of dx_TI are contiguous.
void multiply_decoded_transposed(const io::PackedMatrix& matrix, const Tensor& dy_TO, const Tensor& dx_TI, bool add);

/// Bytes of memory that both need, with the current number of threads.
int64_t decoded_product_bytes(const io::PackedMatrix& matrix);

}  // namespace lora::ops::cpu
