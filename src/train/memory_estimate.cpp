#include "lora/train/memory_estimate.h"

#include <algorithm>

#include "lora/nn/packed_weights.h"
#include "lora/train/document_objective.h"

namespace lora::train {

int64_t training_bytes(const Objective& objective, const nn::Model& model, const std::vector<BatchSize>& at_once, nn::Recompute recompute) {
  const nn::PassMemory memory = model.body->pass_memory(recompute);
  const int64_t tile = nn::packed_tile_bytes(model);
  int64_t most = 0;
  for (const BatchSize& part : at_once) {
    const int64_t needed = objective.loss_memory(part).needed;
    const int64_t kept = memory.kept * part.input + memory.tail * needed + memory.kept_per_document * part.documents;
    const BatchSize of_a_lane{(part.supervised + part.lanes - 1) / part.lanes, (part.input + part.lanes - 1) / part.lanes};
    const int64_t loss = part.lanes * objective.loss_memory(of_a_lane).training;
    most = std::max(most, part.lanes * tile + kept + std::max({loss, memory.working * part.input, memory.tail_working * needed}));
  }
  return most;
}

int64_t evaluation_bytes(const Objective& objective, const nn::Model& model, const data::Dataset& eval, const data::BatchOptions& batches) {
  const nn::PassMemory memory = model.body->pass_memory(nn::Recompute::kNothing);
  const int64_t tile = nn::packed_tile_bytes(model);
  int64_t most = 0;
  for (const MicroBatch& batch : data::plan_epoch(eval, batches, 0)) {
    const BatchSize size = size_of(eval, batch);
    const int64_t forward = memory.forward * size.input + memory.forward_per_document * size.documents;
    most = std::max(most, tile + std::max(forward, objective.loss_memory(size).evaluation));
  }
  return most;
}

}  // namespace lora::train
