#pragma once
#include <vector>

#include "lora/data/batches.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"

// What the passes of a run take, in addition to weights and their gradients.
namespace lora::train {

/// Bytes that the largest of `at_once` (sizes_at_once) needs from its forward pass to the end of its backward.
int64_t training_bytes(const Objective& objective, const nn::Model& model, const std::vector<BatchSize>& at_once, nn::Recompute recompute);

/// Bytes of the largest batch of an evaluation.
int64_t evaluation_bytes(const Objective& objective, const nn::Model& model, const data::Dataset& eval, const data::BatchOptions& batches);

}  // namespace lora::train
