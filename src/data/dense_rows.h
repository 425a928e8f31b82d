#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/data/dataset.h"

namespace lora::data {

/// Throws data Error naming file:line for a row that differs from the first of its set: in whether it has features, in their shape, or
/// in the number of target values.
void require_like(const Example& first, const Example& example);

/// Features of these examples, float32 [N, ...]; undefined for documents of tokens.
at::Tensor features_of(const Dataset& dataset, const std::vector<int64_t>& indices);

/// Their targets: int64 [N] for classes, otherwise float32 [N], or [N, K] for rows with several values; undefined if one has none.
at::Tensor targets_of(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data
