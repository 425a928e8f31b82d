#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace lora::nn {

/// A trained tensor: a leaf that requires grad.
struct Parameter {
  std::string name;  ///< module path and tensor name, e.g. "model.layers.0.self_attn.q_proj.lora_A.weight"
  at::Tensor tensor;
  bool weight_decay = true;  ///< biases and norm weights are not decayed (transformers' Trainer)
};

}  // namespace lora::nn
