#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "lora/checkpoint/checkpoint.h"
#include "lora/data/batch_prefetcher.h"
#include "lora/nn/parameter.h"
#include "lora/ops/lanes.h"
#include "lora/train/agreement.h"
#include "lora/train/execution.h"
#include "lora/train/objective.h"
#include "lora/train/step_graph.h"

namespace lora::train {

using checkpoint::TrainerState;

/// What a step is computed from; all must outlive the runner.
struct StepInputs {
  const Objective& objective;
  const data::Dataset& train;
  const std::vector<nn::Parameter>& parameters;
  comm::Communicator& communicator;
};

/// Computes the gradients of optimiser steps: divides micro-batches into parts, builds their batches, and runs forward and backward passes
/// one after the other, side by side or by replaying a recorded one, in smaller parts if memory is short. None of this changes a step.
class StepRunner {
 public:
  /// @param seed of dropout.
  StepRunner(const StepInputs& inputs, const Execution& execution, uint64_t seed);

  /// Records passes with `graph` and replays them from now on. The recorded batches have room for every part of `epoch`.
  void record_passes(std::unique_ptr<nn::DeviceGraph> graph, const std::vector<MicroBatch>& epoch);

  /// Replaces the gradients by those of `scale` times the losses of a step's micro-batches; returns the sum of the losses. If a micro-batch
  /// does not fit into the device's memory, this step and all later ones are computed in smaller parts (state.batch_halvings).
  /// @param next the first micro-batch of the next step, which can be prepared while this step ends; none: this is the last step.
  double run(const std::vector<MicroBatch>& batches, const std::optional<MicroBatch>& next, TrainerState& state, double scale);

  /// Adds the gradients of `scale` times the loss of one part to the existing ones. Returns the loss, a float64 scalar on the device.
  at::Tensor add_gradients(const MicroBatch& part, int64_t step, double scale);
  /// The parts whose batches are built ahead in the last step and after it; empty without prefetching.
  const std::vector<MicroBatch>& expected() const { return expected_; }

 private:
  std::vector<MicroBatch> parts(const std::vector<MicroBatch>& batches, int64_t halvings) const;
  double add_all_gradients(const std::vector<MicroBatch>& parts, int64_t step, double scale);
  void expect(const std::vector<MicroBatch>& computed, const std::optional<MicroBatch>& next, int64_t halvings);
  nn::BatchRoom room_for(const MicroBatch& part) const;
  nn::Batch take(const MicroBatch& part);
  nn::Pass training_pass(const nn::Batch& tokens, int64_t step) const;
  at::Tensor loss_of(const MicroBatch& part, int64_t step);
  at::Tensor add_recorded(const nn::Batch& tokens, int64_t step, double scale);

  StepInputs inputs_;
  Execution execution_;
  uint64_t seed_;
  Agreement agreement_;
  data::BatchPrefetcher batches_;
  std::vector<MicroBatch> expected_;
  ops::Lanes lanes_;
  std::unique_ptr<StepGraph> graph_;  ///< null: passes are not recorded
};

}  // namespace lora::train
