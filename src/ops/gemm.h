#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

// Matrix products without a graph, by the faster of the libraries that LibTorch brings. In float32 at::mm goes to MKL, which
// keeps to AVX2 on processors that are not Intel's; oneDNN uses what there is (AVX-512 on AMD's Zen 5: 250 against 113 GFLOP/s a
// core). Which one is a function of the processor and the shapes alone, so that a run has the same bits each time.

/// a_MK b_KN.
at::Tensor gemm(const at::Tensor& a_MK, const at::Tensor& b_KN);

/// c_MN = beta · c_MN + alpha · a_MK b_KN.
void gemm_(const at::Tensor& c_MN, const at::Tensor& a_MK, const at::Tensor& b_KN, double beta = 1, double alpha = 1);

/// Whether such a product would be oneDNN's: CPU, float32, a processor on which it is the faster one, and a product that is
/// worth the call.
bool onednn_applies(const at::Tensor& a_MK, int64_t columns);

}  // namespace lora::ops
