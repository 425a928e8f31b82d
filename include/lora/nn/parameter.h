#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace lora::nn {

/// What a trained tensor is, for code that treats some of them differently: the optimizer's learning rates, the keys of an adapter's file.
enum class ParameterRole {
  kWhole,        ///< a weight or bias of the base, or what replaces it
  kLowRankA,     ///< of a projection
  kLowRankB,     ///< of a projection
  kLowRankBias,  ///< PEFT's lora_bias
  kMagnitude,    ///< DoRA
  kEmbeddingA,   ///< the low-rank pair of an embedding
  kEmbeddingB,
  kTokenRows,  ///< rows of an embedding or a head for some tokens
  kFormula,    ///< of a formula (nn/projection_change.h), which tells its tensors apart by their names
};

/// A trained tensor: a leaf that requires grad.
struct Parameter {
  std::string name;  ///< module path and tensor name, e.g. "model.layers.0.self_attn.q_proj.lora_A.weight"
  at::Tensor tensor;
  bool weight_decay = true;  ///< biases and norm weights are not decayed (transformers' Trainer)
  ParameterRole role = ParameterRole::kWhole;
  double scale = 1;  ///< of half a low-rank pair: what multiplies B A
};

}  // namespace lora::nn
