#pragma once
#include <cstdint>

#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/peft/options.h"

namespace lora::peft {

using at::Tensor;

/// The initial lora_A and lora_B of one module: float32, on the weight's device. I inputs, O outputs, R rank.
struct LowRankStart {
  Tensor A_RI;
  Tensor B_OR;
};

/// The name of a module's lora_A, with which its random numbers are seeded.
std::string a_name(const nn::MatrixHost& host);

/// PEFT's init_lora_weights. "eva", whose A comes from the data (lora/peft/eva.h), is initialized like `true` here. A pure function of
/// the weight, the seed and the parameters' names. The initialization of PiSSA and OLoRA is a part of the weight, which is not
/// changed here (Residuals subtracts it). Throws config Error for a rank that the initialization cannot have, and for PiSSA or OLoRA
/// on a tied weight. Those of a convolution are matrices whose rows are kernels.
/// @param scale the factor of B A x.
LowRankStart low_rank_start(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, double scale, uint64_t seed);

/// PiSSA's or OLoRA's initialization for a module with this weight, as low_rank_start returns it. Throws the same errors.
LowRankStart part_of_weight(const LoraOptions& options, const Tensor& weight_OI, int64_t rank, double scale, const std::string& module);

/// The initial lora_embedding_A and lora_embedding_B: A zero and B ~ N(0, 1), or both random if init_lora_weights is false. The inputs
/// are V tokens, the outputs D channels.
LowRankStart embedding_start(const LoraOptions& options, const nn::Embedding& host, int64_t rank, uint64_t seed);

/// The initial bias of lora_B: zero, or as nn.Linear itself if init_lora_weights is false. float32 [O].
Tensor low_rank_bias_start(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, uint64_t seed);

}  // namespace lora::peft
