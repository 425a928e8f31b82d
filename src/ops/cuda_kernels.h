#pragma once
#include <ATen/core/Tensor.h>

#include "lora/io/packed_matrix.h"
#include "lora/ops/decode_on_device.h"
#include "lora/ops/dropout.h"
#include "lora/ops/rms_norm.h"
#include "ops/cuda_module.h"

/// The kernels of ops/cuda/interface.h on tensors: what the differentiable ops of this area call in forward and backward if
/// cuda_kernels(x) is not null. The interface documents formulas and rounding. Tensors must be on one device and contiguous unless
/// stated otherwise (a c10::Error if not: a programming error). No gradient is recorded, and nothing waits for the device.
/// T tokens, D channels, F inner channels, H and K heads, E channels per head, C rows of a chunk, V vocabulary, I channels.
namespace lora::ops {

using at::Tensor;

struct RmsNormed {
  Tensor y_TD;
  Tensor rstd_T;  ///< float32, for backward
};

/// @param x_TD of any leading shape; weight_D has its dtype.
RmsNormed rms_norm_cuda(const CudaKernels& kernels, const Tensor& x_TD, const Tensor& weight_D, double eps,
                        NormWeight form = NormWeight::kPlain);

struct RmsNormGradients {
  Tensor dx_TD;
  Tensor dweight_D;  ///< in the weight's dtype; undefined unless train_weight
};

/// @param x_TD, rstd_T input and result of the forward pass.
RmsNormGradients rms_norm_backward_cuda(const CudaKernels& kernels, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                        const Tensor& weight_D, NormWeight form, bool train_weight);

/// In place on both; backward: on their gradients.
/// @param q_THE with any token stride, so that q and k may be slices of one projection. k_TKE may be undefined.
/// @param cos_TR, sin_TR in the dtype of q; R ≤ E channels are rotated.
void rope_cuda_(const CudaKernels& kernels, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR,
                bool backward);

/// act(gate) · up, with any row strides, so that both may be slices of one projection.
Tensor gated_activation_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF);

struct GatedGradients {
  Tensor dgate_TF;
  Tensor dup_TF;
};

GatedGradients gated_activation_backward_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF,
                                              const Tensor& dproduct_TF);

/// The rows' cross-entropies, [C] in float32 and unscaled; the logits are replaced by their gradient times `scale`. The same bits in every
/// run.
/// @param labels_C int64; a row with a negative label has loss 0 and gradient 0.
Tensor cross_entropy_cuda_(const CudaKernels& kernels, const Tensor& logits_CV, const Tensor& labels_C, double scale);

/// The values of a tile of a matrix, rounded to value_dtype and then to `dtype`: [rows, columns].
/// @param columns of the matrix.
Tensor decode_cuda(const CudaKernels& kernels, const io::BlockCodes& codes, int64_t columns, const io::Tile& tile,
                   at::ScalarType value_dtype, at::ScalarType dtype);

/// The same for matrices in other formats.
Tensor decode_cuda(const CudaKernels& kernels, const GridCodes& codes, const io::Tile& tile, at::ScalarType dtype);
Tensor decode_cuda(const CudaKernels& kernels, const GgufCodes& codes, const io::Tile& tile, at::ScalarType dtype);

/// x_TI Wᵀ from the codes of W [outputs, I], for at most kMostCodedTokens tokens: [T, outputs].
Tensor multiply_codes_cuda(const CudaKernels& kernels, const io::BlockCodes& codes, int64_t outputs, const Tensor& x_TI);

/// The same bits as ops::dropout.
Tensor dropout_cuda(const CudaKernels& kernels, const Tensor& x_TI, const DropoutDraw& draw);

}  // namespace lora::ops
