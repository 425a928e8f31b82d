#pragma once
#include <ATen/core/Tensor.h>

#include "lora/ops/activation_kinds.h"

namespace lora::ops {

using at::Tensor;

/// act(gate) · up, both of the same shape: the intermediate of a gated feed-forward layer (Shazeer 2020, "GLU Variants Improve
/// Transformer"). act(gate) is rounded to the dtype before the product, as in transformers. Keeps gate and up; backward recomputes
/// act(gate).
Tensor gated_activation(Activation kind, const Tensor& gate, const Tensor& up);

/// The same as a composition of differentiable ATen operations.
Tensor gated_activation_reference(Activation kind, const Tensor& gate, const Tensor& up);

/// act(gate) · up for one projection that gives both, x_T2F = [up | gate] (diffusers' GEGLU): [T, F], rounded as above. Keeps x.
Tensor packed_gated_activation(Activation kind, const Tensor& x_T2F);

/// act(x), differentiable, for layers without a gate.
Tensor activation(Activation kind, const Tensor& x);

}  // namespace lora::ops
