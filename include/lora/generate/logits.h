#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lora/generate/options.h"

// Legend: D: number of documents, V: size of the vocabulary.
namespace lora::generate {

using at::Tensor;

/// The logits from which the next token of each document is sampled, float32 [D, V]. Those of transformers' processors and warpers that
/// the options enable are applied, in the order of transformers: repetition penalty (Keskar et al. 2019) and, unless decoding is greedy,
/// temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024). Tokens that are filtered out have
/// minus infinity.
/// @param seen prompt and new tokens of each document.
Tensor process_logits(const Tensor& logits_DV, const std::vector<const std::vector<int32_t>*>& seen, const GenerationOptions& options);

/// One token per document: the most likely.
std::vector<int32_t> choose_greedily(const Tensor& logits_DV);

/// One token per document, sampled with probability softmax(logits): the token at which the cumulative probability, in the order of the
/// ids, exceeds draws[d] in [0, 1).
std::vector<int32_t> choose_by_draw(const Tensor& logits_DV, const std::vector<double>& draws);

}  // namespace lora::generate
