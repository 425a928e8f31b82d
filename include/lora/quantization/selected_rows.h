#pragma once
#include <vector>

#include "lora/io/packed_matrix.h"

namespace lora::quantization {

using at::Tensor;

/// Some rows of a packed matrix, in any order: a part of fused projections, or rows that a format permutes. Its bytes are those of the
/// rows' share of the matrix.
/// @param rows of `matrix`; each must be in it.
std::shared_ptr<const io::PackedMatrix> select_rows(std::shared_ptr<const io::PackedMatrix> matrix, std::vector<int64_t> rows);

}  // namespace lora::quantization
