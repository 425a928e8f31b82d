#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/train/trainer.h"
#include "support/single_thread.h"

namespace lora::test {

/// An objective whose every answer a test gives.
class FakeObjective : public train::Objective {
 public:
  std::function<at::Tensor(const train::MicroBatch&, int64_t step)> loss;
  std::function<train::EvalResult()> evaluation;
  std::function<int64_t(const train::MicroBatch&)> input = [](const train::MicroBatch& batch) {  ///< number of input tokens
    return 2 * static_cast<int64_t>(batch.size());
  };

  /// As many supervised tokens as examples.
  train::BatchSize size(const train::MicroBatch& batch) const override { return {static_cast<int64_t>(batch.size()), input(batch)}; }
  at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const override { return loss(pass.layout().sample_ids, step); }
  train::LossMemory loss_memory(const train::BatchSize&) const override { return {}; }
  std::string describe(const train::MicroBatch& batch) const override { return "example " + std::to_string(batch.front()); }
  bool has_evaluation() const override { return static_cast<bool>(evaluation); }
  train::EvalResult evaluate() const override { return evaluation(); }
};

/// A data set of `count` documents of two tokens.
inline data::Dataset small_documents(int64_t count) {
  data::Dataset dataset;
  for (int64_t i = 0; i < count; ++i) {
    dataset.examples.emplace_back(std::vector<int32_t>{1, 2}, std::vector<int32_t>{1, 2});
  }
  return dataset;
}

/// What a run without a model consists of.
struct FakeRun {
  FakeObjective objective;
  data::Dataset examples = small_documents(300);
  train::EpochPlan epochs = [](int64_t) { return std::vector<train::MicroBatch>{{0}}; };
  train::Execution execution;
  std::unique_ptr<comm::Communicator> communicator = comm::make_single_process();
  std::optional<train::StepRunner> runner;  ///< of the last run
  train::TrainerState state;

  /// Trains the parameters to the end of `plan`.
  void run(const std::vector<nn::Parameter>& parameters, optim::Optimizer& optimizer, const train::TrainOptions& options,
           train::StepPlan& plan, std::vector<train::Hook*> hooks, bool half_precision = false) {
    runner.emplace(train::StepInputs{objective, examples, parameters, *communicator}, execution, options.seed);
    train::Trainer({objective, *runner, parameters, optimizer, *communicator, std::move(hooks)}, options, plan, half_precision).run(state);
  }
};

/// An epoch of `count` micro-batches {first}, {first + 1}, …
inline std::vector<train::MicroBatch> single_batches(int64_t count, int64_t first = 0) {
  std::vector<train::MicroBatch> batches;
  for (int64_t i = 0; i < count; ++i) {
    batches.push_back({first + i});
  }
  return batches;
}

}  // namespace lora::test
