#include "lora/train/execution.h"

#include <algorithm>

#include "lora/data/batches.h"

namespace lora::train {

namespace {

/// On the CPU larger parts are hardly faster (matrix products reach their full rate from some hundred rows on) and need more memory.
constexpr int64_t kPartTokens = 512;
/// The longest part that runs side by side with another, so that both together need no more memory than one of its length in float32.
constexpr int64_t kMostTokensBeside = 1152;
/// The widest model whose products are so small that threads wait for each other (on 2 cores, side by side is 9 to 28 % faster at 576
/// channels and no faster at 2048), and the tokens times channels per part in that case, as memory grows with both.
constexpr int64_t kMostWidth = 1024, kPartElements = 320 * 1024;

/// Whether the model gains from lanes. Not in float32: products take longer, so that threads wait less for each other, and memory doubles.
bool suits_lanes(const nn::Model& model) {
  const bool is_half = model.dtype() == at::kBFloat16 || model.dtype() == at::kHalf;
  return model.device().is_cpu() && is_half && model.body->runs_concurrently() && model.body->hidden_size() <= kMostWidth;
}

}  // namespace

Execution execution_for(const nn::Model& model, nn::Recompute recompute, bool may_use_lanes, std::optional<bool> prefetch) {
  Execution execution;
  execution.recompute = recompute;
  execution.prefetch = prefetch.value_or(model.device().is_cuda());
  execution.part_tokens = model.device().is_cpu() ? kPartTokens : 0;
  // Not with recomputation, which is used when memory is short.
  if (may_use_lanes && suits_lanes(model) && !execution.prefetch && recompute == nn::Recompute::kNothing) {
    execution.lanes = kLanes;
    execution.part_tokens = std::min(execution.part_tokens, kPartElements / model.body->hidden_size());
  }
  return execution;
}

std::vector<MicroBatch> parts_of(const MicroBatch& batch, const data::Dataset& dataset, const Execution& execution) {
  if (execution.part_tokens == 0) {
    return {batch};
  }
  return data::spread_by_tokens(dataset, batch, execution.part_tokens, execution.lanes);
}

bool runs_alongside_others(const MicroBatch& part, const Objective& objective, const Execution& execution) {
  return execution.lanes > 1 && objective.size(part).input <= kMostTokensBeside;
}

std::vector<BatchSize> sizes_at_once(const std::vector<MicroBatch>& parts, const Objective& objective, const Execution& execution) {
  std::vector<BatchSize> sizes, side_by_side;
  for (const MicroBatch& part : parts) {
    (runs_alongside_others(part, objective, execution) ? side_by_side : sizes).push_back(objective.size(part));
  }
  const auto is_larger = [](const BatchSize& a, const BatchSize& b) { return a.input > b.input; };
  std::stable_sort(side_by_side.begin(), side_by_side.end(), is_larger);
  BatchSize lanes{0, 0, std::min(execution.lanes, static_cast<int64_t>(side_by_side.size()))};
  for (int64_t i = 0; i < lanes.lanes; ++i) {
    lanes.supervised += side_by_side[i].supervised;
    lanes.input += side_by_side[i].input;
    lanes.documents += side_by_side[i].documents;
  }
  if (!side_by_side.empty()) {
    sizes.push_back(lanes);
  }
  return sizes;
}

}  // namespace lora::train
