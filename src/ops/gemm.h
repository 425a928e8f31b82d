#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

// Matrix products without a graph, by the faster of the libraries that LibTorch includes. In float32 at::mm uses MKL, which is limited
// to AVX2 on processors other than Intel's; oneDNN uses whatever is available (AVX-512 on AMD's Zen 5: 250 against 113 GFLOP/s per
// core). The choice depends only on the processor and the shapes, so that a run has the same bits each time.

/// a_MK b_KN.
at::Tensor gemm(const at::Tensor& a_MK, const at::Tensor& b_KN);

/// c_MN = beta · c_MN + alpha · a_MK b_KN.
void gemm_(const at::Tensor& c_MN, const at::Tensor& a_MK, const at::Tensor& b_KN, double beta = 1, double alpha = 1);

/// Whether oneDNN computes such a product: on the CPU in float32, on a processor for which it is faster, and for a product that is
/// large enough.
bool onednn_applies(const at::Tensor& a_MK, int64_t columns);

}  // namespace lora::ops
