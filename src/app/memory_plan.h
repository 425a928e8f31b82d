#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "lora/base/json.h"
#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/nn/model.h"
#include "lora/peft/method.h"
#include "lora/train/execution.h"

namespace lora::app {

/// How a run will use memory.
struct MemoryPlan {
  train::Execution execution;     ///< how its steps are computed
  int64_t batch_size = 0;         ///< documents (with packing: bins) per micro-batch
  int64_t bytes = 0;              ///< estimated peak
  std::optional<int64_t> usable;  ///< memory that the run may use; none: not known
};

struct MemoryPlanInput {
  const config::RunConfig& config;
  const nn::Model& model;
  const peft::Method& method;
  const train::Objective& objective;
  const data::Dataset& train;
  const data::Dataset* eval;          ///< null: no evaluation
  std::optional<int64_t> usable;      ///< bytes that the run may use; none: not known
  std::optional<int64_t> batch_size;  ///< chosen earlier, by the run that this one resumes
};

/// Nine tenths of the memory that this process holds or can still allocate.
std::optional<int64_t> usable_memory_bytes(at::Device device);

/// Estimates the peak: the program (on the CPU), weights, trained tensors with gradients and optimiser moments (except for those in a file
/// or in CUDA's managed memory), and the larger of what the largest part of a micro-batch and the largest evaluation batch need; or what
/// quantising the weights needs, if that is more. Chooses what the config leaves to "auto": the least recomputation with which a batch
/// fits, then the largest batch size that fits, a power of two up to 64 and up to the number of documents. If nothing fits, the plan is a
/// batch of one with the most recomputation; if the memory is not known, a batch of 8 without recomputation.
MemoryPlan plan_memory(const MemoryPlanInput& input);

/// The recomputation as the end of a line of text: "" or ", recomputing layers".
const char* recomputed_text(nn::Recompute recompute);

/// The plan for run.json.
Json to_json(const MemoryPlan& plan);

}  // namespace lora::app
