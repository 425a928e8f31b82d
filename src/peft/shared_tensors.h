#pragma once
#include <string>
#include <utility>
#include <vector>

#include "peft/formula.h"

// Fixed tensors that all projections share (VeRA, RandLoRA).
namespace lora::peft {

/// The largest number of inputs and of outputs.
std::pair<int64_t, int64_t> widest(const std::vector<ProjectionFacts>& all);

/// The stored tensor in float32. Throws model Error if it is missing or has another number of dimensions.
Tensor shared_tensor(const PartTensors& stored, const std::string& name, int64_t dimensions);

}  // namespace lora::peft
