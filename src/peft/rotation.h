#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// Rotations of blocks of inputs (OFT, BOFT). N blocks, B inputs of a block.
namespace lora::peft {

using at::Tensor;

/// The skew-symmetric matrices [N, B, B] with these upper triangles [N, B (B - 1) / 2], row by row.
Tensor skew_symmetric(const Tensor& triangles);

/// (I - Q)(I + Q)⁻¹: orthogonal for a skew-symmetric Q (Cayley).
Tensor cayley(const Tensor& Q_NBB);

/// Each block of each row of x_TI times its matrix: x · blockdiag(R). One matrix serves all blocks.
Tensor rotated(const Tensor& x_TI, const Tensor& R_NBB);

/// The divisor of `dimension` that is next to `requested`, the smaller of two; `dimension` if `requested` is not less.
int64_t divisor_next_to(int64_t requested, int64_t dimension);

}  // namespace lora::peft
