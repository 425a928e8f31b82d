#pragma once
#include <ATen/core/Tensor.h>

namespace lora::ops {

using at::Tensor;

/// y_TN += low_TR B_RN; low and B have the same dtype. If it is wider than y's, the sum is computed in it and rounded once.
void add_product_(const Tensor& y_TN, const Tensor& low_TR, const Tensor& B_RN, double scale);

/// x_TN M_NR in M's dtype, which may be wider than x's.
Tensor low_product(const Tensor& x_TN, const Tensor& M_NR);

/// low_TRᵀ x_TN in low's dtype, which may be wider than x's.
Tensor outer_product(const Tensor& low_TR, const Tensor& x_TN);

}  // namespace lora::ops
