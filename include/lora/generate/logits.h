#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lora/generate/options.h"

// Legend: D documents, V vocabulary.
namespace lora::generate {

using at::Tensor;

/// The logits from which the next token of each document is drawn, float32 [D, V]: transformers' processors and warpers in
/// their order, as far as the options have them on: repetition penalty (Keskar et al. 2019), and where not greedy
/// temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024). What is filtered out is
/// minus infinity.
/// @param seen prompt and new tokens of each document.
Tensor process_logits(const Tensor& logits_DV, const std::vector<const std::vector<int32_t>*>& seen, const GenerationOptions& options);

/// A token a document: the likeliest.
std::vector<int32_t> choose_greedily(const Tensor& logits_DV);

/// A token a document by its probability softmax(logits): the one at which the cumulative probability, in the order of the
/// ids, passes draws[d] in [0, 1).
std::vector<int32_t> choose_by_draw(const Tensor& logits_DV, const std::vector<double>& draws);

}  // namespace lora::generate
