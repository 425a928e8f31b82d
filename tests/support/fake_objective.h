#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lora/train/objective.h"
#include "support/single_thread.h"

namespace lora::test {

/// An objective whose every answer a test gives.
class FakeObjective : public train::Objective {
 public:
  std::function<std::vector<train::MicroBatch>(int64_t epoch)> plan = [](int64_t) { return std::vector<train::MicroBatch>{{0}}; };
  std::function<at::Tensor(const train::MicroBatch&, int64_t step)> loss;
  std::function<train::EvalResult()> evaluation;
  std::function<bool(const train::MicroBatch&)> alongside = [](const train::MicroBatch&) { return false; };  ///< runs_alongside_others
  mutable std::vector<std::vector<train::MicroBatch>> expected;  ///< what it was told to expect, each time

  std::vector<train::MicroBatch> plan_epoch(int64_t epoch) const override { return plan(epoch); }
  /// As many supervised tokens as examples, twice as many input tokens.
  train::BatchSize size(const train::MicroBatch& batch) const override {
    const auto count = static_cast<int64_t>(batch.size());
    return {count, 2 * count};
  }
  bool runs_alongside_others(const train::MicroBatch& part) const override { return alongside(part); }
  void expect(const std::vector<train::MicroBatch>& upcoming) const override { expected.push_back(upcoming); }
  at::Tensor loss_sum(const train::MicroBatch& batch, int64_t step) const override { return loss(batch, step); }
  std::string describe(const train::MicroBatch& batch) const override { return "example " + std::to_string(batch.front()); }
  void set_batch_size(int64_t) override {}
  int64_t batch_size() const override { return 1; }
  int64_t training_bytes(const std::vector<train::BatchSize>&, nn::Recompute) const override { return 0; }
  int64_t evaluation_bytes() const override { return 0; }
  bool has_evaluation() const override { return static_cast<bool>(evaluation); }
  train::EvalResult evaluate() const override { return evaluation(); }
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
