#include "lora/train/document_objective.h"

#include <algorithm>

#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

/// On the CPU larger parts are hardly faster (matrix products reach their full rate from some hundred rows on) and need more memory.
constexpr int64_t kPartTokens = 512;
/// The longest part that runs side by side with another, so that both together need no more memory than one of its length in float32.
constexpr int64_t kMostTokensBeside = 1152;
/// The widest model whose products are so small that threads wait for each other (on 2 cores, side by side is 9 to 28 % faster at 576
/// channels and no faster at 2048), and the tokens times channels per part in that case, as memory grows with both.
constexpr int64_t kMostWidth = 1024, kPartElements = 320 * 1024;

BatchSize size_of(const data::Dataset& dataset, const MicroBatch& batch) {
  BatchSize size;
  for (const int64_t index : batch) {
    size.supervised += dataset.examples[index].num_supervised();
    size.input += dataset.examples[index].num_tokens();
  }
  return size;
}

}  // namespace

DocumentObjective::DocumentObjective(nn::Model& model, const data::Dataset& train, const data::Dataset* eval,
                                     const DocumentObjectiveOptions& options)
    : model_(model),
      train_(train),
      eval_(eval),
      options_(options),
      prefetches_(options.prefetch.value_or(model.device().is_cuda())),
      part_tokens_(options.part_tokens.value_or(model.device().is_cpu() ? kPartTokens : 0)),
      train_ahead_(std::make_unique<data::BatchPrefetcher>(train, model.device(), prefetches_)) {}

std::vector<MicroBatch> DocumentObjective::plan_epoch(int64_t epoch) const {
  return data::plan_epoch(train_, options_.train_batches, epoch);
}

BatchSize DocumentObjective::size(const MicroBatch& batch) const {
  return size_of(train_, batch);
}

std::vector<MicroBatch> DocumentObjective::parts(const MicroBatch& batch) const {
  if (part_tokens_ == 0) {
    return {batch};
  }
  return has_lanes() ? data::spread_by_tokens(train_, batch, std::min(part_tokens_, kPartElements / model_.body->hidden_size()), kLanes)
                     : data::spread_by_tokens(train_, batch, part_tokens_, 1);
}

/// Not in float32: products take longer, so that threads wait less for each other, and memory doubles. Not with recomputation, which is
/// used when memory is short.
bool DocumentObjective::has_lanes() const {
  const bool is_half = model_.dtype() == at::kBFloat16 || model_.dtype() == at::kHalf;
  return side_by_side_ && model_.device().is_cpu() && is_half && model_.body->runs_concurrently() &&
         model_.body->hidden_size() <= kMostWidth && !prefetches_ && recompute_ == nn::Recompute::kNothing;
}

bool DocumentObjective::runs_alongside_others(const MicroBatch& part) const {
  return has_lanes() && size(part).input <= kMostTokensBeside;
}

std::string DocumentObjective::describe(const MicroBatch& batch) const {
  std::vector<std::string> origins;
  for (const int64_t index : batch) {
    origins.push_back(train_.examples[index].origin.text());
  }
  return join(origins, ", ", 4);
}

nn::BatchRoom DocumentObjective::room_for(const MicroBatch& batch) const {
  const BatchSize needed = size(batch);
  nn::BatchRoom room{needed.input, static_cast<int64_t>(batch.size()), needed.supervised, 0};
  for (const int64_t index : batch) {
    room.longest = std::max(room.longest, train_.examples[index].num_tokens());
  }
  return room;
}

nn::Batch DocumentObjective::take(const MicroBatch& batch) const {
  const ProfileScope scope(kDataScope);
  return train_ahead_->take(batch);
}

nn::Pass DocumentObjective::training_pass(const nn::Batch& tokens, int64_t step) const {
  return nn::training_pass(tokens, options_.seed, step, recompute_);
}

int64_t DocumentObjective::training_bytes(const std::vector<BatchSize>& at_once, nn::Recompute recompute) const {
  const nn::PassMemory memory = model_.body->pass_memory(recompute);
  int64_t most = 0;
  for (const BatchSize& part : at_once) {
    const int64_t needed = num_needed(part), kept = memory.kept * part.input + memory.tail * needed;
    const BatchSize of_a_lane{(part.supervised + part.lanes - 1) / part.lanes, (part.input + part.lanes - 1) / part.lanes};
    const int64_t loss = part.lanes * loss_bytes(of_a_lane);
    most = std::max(most, kept + std::max({loss, memory.working * part.input, memory.tail_working * needed}));
  }
  return most;
}

int64_t DocumentObjective::evaluation_bytes() const {
  if (eval_ == nullptr) {
    return 0;
  }
  const nn::PassMemory memory = model_.body->pass_memory(nn::Recompute::kNothing);
  int64_t most = 0;
  for (const MicroBatch& batch : data::plan_epoch(*eval_, options_.eval_batches, 0)) {
    const BatchSize size = size_of(*eval_, batch);
    most = std::max({most, memory.forward * size.input, evaluation_loss_bytes(size)});
  }
  return most;
}

void DocumentObjective::for_each_eval_batch(const std::function<void(const nn::Batch& tokens)>& add) const {
  const std::vector<std::vector<int64_t>> batches = data::plan_epoch(*eval_, options_.eval_batches, 0);
  data::BatchPrefetcher ahead(*eval_, model_.device(), prefetches_);
  ahead.expect(batches);
  for (const std::vector<int64_t>& indices : batches) {
    throw_if_interrupted();
    add(ahead.take(indices));
  }
}

}  // namespace lora::train
