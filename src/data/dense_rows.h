#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/data/dataset.h"

namespace lora::data {

/// Throws data Error, file:line, for a row that is of features where the first of its set is not, of another shape, or with targets of
/// another number of values.
void require_like(const Example& first, const Example& example);

/// Features of these examples, float32 [N, ...]; undefined where they are documents of tokens.
at::Tensor features_of(const Dataset& dataset, const std::vector<int64_t>& indices);

/// Their targets: int64 [N] of classes, else float32 [N], or [N, K] where rows have several values; undefined where one has none.
at::Tensor targets_of(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data
