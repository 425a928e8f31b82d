#pragma once
#include <cstdint>

#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/peft/options.h"

namespace lora::peft {

using at::Tensor;

/// What lora_A and lora_B of one module start with: float32, on the weight's device. I inputs, O outputs, R rank.
struct LowRankStart {
  Tensor A_RI;
  Tensor B_OR;
};

/// PEFT's init_lora_weights, but "eva", whose A comes from the data (lora/peft/eva.h): here it starts as `true` does.
/// A pure function of the weight, the seed and the parameters' names. PiSSA's and OLoRA's start is part of the weight,
/// which stays as it is here (Residuals takes it out). Throws config Error for a rank that the start cannot have, and
/// for PiSSA or OLoRA at a tied weight.
/// @param scale what B A x is multiplied by.
LowRankStart low_rank_start(const LoraOptions& options, const nn::Linear& host, int64_t rank, double scale, uint64_t seed);

/// PiSSA's or OLoRA's start of a module with this weight, as low_rank_start gives it. Throws as that does.
LowRankStart part_of_weight(const LoraOptions& options, const Tensor& weight_OI, int64_t rank, double scale, const std::string& module);

/// What lora_embedding_A and lora_embedding_B start with: A zero and B ~ N(0, 1), or both random with
/// init_lora_weights false. V tokens are the inputs, D channels the outputs.
LowRankStart embedding_start(const LoraOptions& options, const nn::Embedding& host, int64_t rank, uint64_t seed);

/// What the bias of lora_B starts with: zero, or with init_lora_weights false nn.Linear's own start. float32 [O].
Tensor low_rank_bias_start(const LoraOptions& options, const nn::Linear& host, int64_t rank, uint64_t seed);

}  // namespace lora::peft
