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

/// Throws model Error if a shared tensor, which may be another program's, is too small for a projection, or has another rank.
/// @param shared undefined: not created yet. @param least the sizes that the projection needs. @param rank_axis the axis of the rank.
void require_covers(const Tensor& shared, const std::string& name, const ProjectionFacts& projection, const std::vector<int64_t>& least,
                    size_t rank_axis);

}  // namespace lora::peft
