#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "lora/data/dataset.h"

namespace lora::data {

/// Throws data Error naming file:line for a row that differs from the first of its set: in whether it has features, in their shape, or
/// in the number of target values.
void require_like(const Example& first, const Example& example);

/// Features of these examples, which must be rows of features: float32 [N, ...].
at::Tensor features_of(const Dataset& dataset, const std::vector<int64_t>& indices);

/// Their targets: int64 [N] for classes, otherwise float32 [N], or [N, K] for rows with several values; none if one has none.
std::optional<at::Tensor> targets_of(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data
