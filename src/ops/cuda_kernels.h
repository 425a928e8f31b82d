#pragma once
#include <ATen/core/Tensor.h>

#include "lora/ops/dropout.h"
#include "lora/ops/rms_norm.h"
#include "ops/cuda_module.h"

/// The kernels of ops/cuda/interface.h on tensors: what the differentiable ops of this area call in forward and backward
/// where cuda_kernels(x) is not null. Formulas and roundings stand in the interface. Tensors must lie on one device and be
/// contiguous where nothing else is said (a c10::Error otherwise: an error of the program). No gradient is recorded, and
/// nothing waits for the device.
/// T tokens, D channels, F inner channels, H and K heads, E channels a head, C rows of a chunk, V vocabulary, I channels.
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
  Tensor dweight_D;  ///< in the weight's dtype; undefined unless asked for
};

/// @param x_TD, rstd_T input and result of the forward pass.
RmsNormGradients rms_norm_backward_cuda(const CudaKernels& kernels, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                        const Tensor& weight_D, NormWeight form, bool train_weight);

/// In place on both; backward: on their gradients.
/// @param q_THE token stride free, so that both may be slices of one projection. k_TKE may be undefined.
/// @param cos_TR of the dtype of q, R ≤ E channels that are turned; sin_TR likewise.
void rope_cuda_(const CudaKernels& kernels, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR,
                bool backward);

/// act(gate) · up. Row strides of both free, so that they may be slices of one projection.
Tensor gated_activation_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF);

struct GatedGradients {
  Tensor dgate_TF;
  Tensor dup_TF;
};

GatedGradients gated_activation_backward_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF,
                                              const Tensor& dproduct_TF);

/// Sum of the rows' cross-entropies, float32 scalar on the device, not scaled; the logits become their gradient times `scale`.
/// The same bits in every run.
/// @param labels_C int64; a row with a negative label has loss 0 and gradient 0.
Tensor cross_entropy_cuda_(const CudaKernels& kernels, const Tensor& logits_CV, const Tensor& labels_C, double scale);

/// ops::dropout, bit by bit.
Tensor dropout_cuda(const CudaKernels& kernels, const Tensor& x_TI, const DropoutDraw& draw);

}  // namespace lora::ops
