#pragma once
#include <cstdint>

#include "lora/nn/pass.h"

namespace lora::app {

struct SummaryInput;

/// How a run will use memory.
struct MemoryPlan {
  nn::Recompute recompute = nn::Recompute::kNothing;
  int64_t bytes = 0;  ///< at the peak: the program (on the CPU), weights, trained tensors with gradients and optimiser moments,
                      ///< activations of the largest micro-batch, one chunk of logits
};

/// What gradient_checkpointing asks for; "auto": the least recomputation that fits into nine tenths of what is available.
MemoryPlan plan_memory(const SummaryInput& input);

}  // namespace lora::app
