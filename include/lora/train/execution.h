#pragma once
#include <optional>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"

namespace lora::train {

/// How many parts are computed side by side, if any are.
inline constexpr int64_t kLanes = 2;

/// How steps are computed: choices that decide about time and memory, not about what is trained.
struct Execution {
  nn::Recompute recompute = nn::Recompute::kNothing;
  int64_t part_tokens = 0;  ///< tokens of whole documents that are computed at once; 0: a whole micro-batch
  int64_t lanes = 1;        ///< number of small parts computed side by side: 1 or kLanes
  bool prefetch = false;    ///< build the next batch in a thread while one is computed
};

/// What suits the model and its device.
/// @param may_use_lanes whether small parts may be computed side by side: each needs its own gradients.
/// @param prefetch none: only on CUDA, where it pays.
Execution execution_for(const nn::Model& model, nn::Recompute recompute, bool may_use_lanes, std::optional<bool> prefetch = {});

/// A micro-batch split into the parts that are computed one after the other or side by side. The step is unchanged, as its loss is a sum
/// over examples.
std::vector<MicroBatch> parts_of(const MicroBatch& batch, const data::Dataset& dataset, const Execution& execution);

/// Whether a part is computed side by side with others of its step, instead of by itself on all threads.
bool runs_alongside_others(const MicroBatch& part, const Objective& objective, const Execution& execution);

/// The sizes of what a step's parts compute at once: each part by itself, and the largest of those that run side by side as one.
std::vector<BatchSize> sizes_at_once(const std::vector<MicroBatch>& parts, const Objective& objective, const Execution& execution);

}  // namespace lora::train
