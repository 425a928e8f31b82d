#pragma once
#include <cstdint>

#include "lora/nn/linear.h"
#include "peft/lora_init.h"

namespace lora::peft {

/// LoftQ (Li et al. 2023, algorithm 1 with one step): A and B whose product with the scale is the best approximation of what quantising
/// the weight has lost, by singular value decomposition. In contrast to PEFT the true error is decomposed (with the base's own settings,
/// such as double quantisation), it is divided by the scale, and the base stays as it is.
/// @param plain_OI the weight before it was quantised.
/// @param key seeds the randomised decomposition of a large weight.
LowRankStart loftq_start(const nn::Linear& host, const Tensor& plain_OI, int64_t rank, double scale, uint64_t key);

}  // namespace lora::peft
