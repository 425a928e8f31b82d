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

/// The rank of a module's pair, lora_alpha and the factor of B A x, after rank_pattern and alpha_pattern.
struct PairSize {
  int64_t rank;
  double alpha;
  double scale;
};
PairSize pair_size(const LoraOptions& options, const std::string& module);

/// Throws config Error if the module shares its weight with another, from which the initialization would be subtracted too.
void require_own_weight(LoraInit init, const nn::MatrixHost& host);

/// Throws config Error if a weight of this shape has no part of this rank.
void require_rank_of_part(LoraInit init, int64_t outputs, int64_t inputs, int64_t rank, const std::string& module);

/// The name of a module's lora_A, with which its random numbers are seeded.
std::string a_name(const nn::MatrixHost& host);

/// PEFT's init_lora_weights. "eva", "corda" and "lora_ga", which come from the data, are initialized like `true` here. A pure function of
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
