#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "lora/base/json.h"
#include "lora/config/run_config.h"
#include "lora/nn/model.h"
#include "lora/peft/method.h"
#include "lora/train/objective.h"

namespace lora::app {

/// How a run will use memory.
struct MemoryPlan {
  nn::Recompute recompute = nn::Recompute::kNothing;
  int64_t batch_size = 0;         ///< documents (with packing: bins) of a micro-batch
  int64_t bytes = 0;              ///< at the peak, by the estimate
  std::optional<int64_t> usable;  ///< what it had to fit into; none: not known
};

struct MemoryPlanInput {
  const config::RunConfig& config;
  const nn::Model& model;
  const peft::Method& method;
  train::Objective& objective;        ///< left with the plan's choices
  std::optional<int64_t> usable;      ///< bytes that the run may take; none: not known
  std::optional<int64_t> batch_size;  ///< found earlier, by the run that this one goes on from
};

/// Nine tenths of what this process has already and what it can still get.
std::optional<int64_t> usable_memory_bytes(at::Device device);

/// Estimates the peak: the program (on the CPU), weights, trained tensors with gradients and optimiser moments, and what the largest part
/// of a micro-batch that is computed at once, or the largest batch of an evaluation, needs. What the config leaves to "auto" is chosen: the
/// least recomputation with which a batch fits, then the largest power of
/// two up to 64, and to the number of documents, that fits. If nothing fits it is a batch of one with whole layers recomputed; if memory is
/// not known, 8 with none.
MemoryPlan plan_memory(const MemoryPlanInput& input);

/// What is computed again, for people: "" or ", layers computed twice".
const char* recomputed_text(nn::Recompute recompute);

/// For run.json.
Json to_json(const MemoryPlan& plan);

}  // namespace lora::app
