#include "lora/train/step_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lora/base/error.h"

namespace lora::train {

EpochPlan epoch_plan(const data::Dataset& dataset, const data::BatchOptions& batches, const comm::Communicator& communicator) {
  const auto rank = static_cast<size_t>(communicator.rank()), size = static_cast<size_t>(communicator.size());
  return [&dataset, batches, rank, size](int64_t epoch) {
    std::vector<MicroBatch> all = data::plan_epoch(dataset, batches, epoch);
    all.resize((all.size() + size - 1) / size * size);
    std::vector<MicroBatch> own;
    for (size_t i = rank; i < all.size(); i += size) {
      own.push_back(std::move(all[i]));
    }
    return own;
  };
}

StepPlan::StepPlan(EpochPlan epochs, const TrainOptions& options)
    : epochs_(std::move(epochs)), accumulation_(options.gradient_accumulation_steps) {
  if (options.max_steps > 0) {
    total_steps_ = options.max_steps;
    steps_in_epoch(0);
    return;
  }
  const auto whole = static_cast<int64_t>(std::floor(options.num_train_epochs));
  for (int64_t epoch = 0; epoch < whole; ++epoch) {
    total_steps_ += steps_in_epoch(epoch);
  }
  if (options.num_train_epochs > static_cast<double>(whole)) {
    // ceil of the whole product, as transformers rounds: 1.1 - 1 is slightly more than 0.1.
    const int64_t steps = steps_in_epoch(whole);
    total_steps_ += static_cast<int64_t>(std::ceil(options.num_train_epochs * static_cast<double>(steps))) - whole * steps;
  }
}

const std::vector<MicroBatch>& StepPlan::plan(int64_t epoch) {
  if (planned_epoch_ != epoch) {
    planned_ = epochs_(epoch);
    planned_epoch_ = epoch;
    if (planned_.empty()) {
      data_error("data.train", "epoch " + std::to_string(epoch) + " has no examples: the weights of all sources are too small");
    }
  }
  return planned_;
}

int64_t StepPlan::steps_in_epoch(int64_t epoch) {
  while (static_cast<int64_t>(steps_of_epoch_.size()) <= epoch) {
    const auto batches = static_cast<int64_t>(plan(static_cast<int64_t>(steps_of_epoch_.size())).size());
    steps_of_epoch_.push_back((batches + accumulation_ - 1) / accumulation_);
  }
  return steps_of_epoch_[epoch];
}

StepPlan::StepPosition StepPlan::locate(int64_t step) {
  StepPosition place{0, step};
  while (place.step_in_epoch >= steps_in_epoch(place.epoch)) {
    place.step_in_epoch -= steps_in_epoch(place.epoch);
    ++place.epoch;
  }
  return place;
}

std::vector<MicroBatch> StepPlan::micro_batches(int64_t step) {
  const StepPosition place = locate(step);
  const std::vector<MicroBatch>& batches = plan(place.epoch);
  const auto begin = static_cast<size_t>(place.step_in_epoch * accumulation_);
  const size_t end = std::min(begin + static_cast<size_t>(accumulation_), batches.size());
  return {batches.begin() + static_cast<std::ptrdiff_t>(begin), batches.begin() + static_cast<std::ptrdiff_t>(end)};
}

bool StepPlan::ends_epoch(int64_t steps) {
  const StepPosition last = locate(steps - 1);
  return last.step_in_epoch + 1 == steps_in_epoch(last.epoch);
}

double StepPlan::epochs_after(int64_t steps) {
  if (steps == 0) {
    return 0;
  }
  const StepPosition last = locate(steps - 1);
  return static_cast<double>(last.epoch) + static_cast<double>(last.step_in_epoch + 1) / static_cast<double>(steps_in_epoch(last.epoch));
}

}  // namespace lora::train
