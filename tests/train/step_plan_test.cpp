#include "lora/train/step_plan.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/fake_objective.h"

namespace lora::train {
namespace {

using test::single_batches;

/// Epoch e has count(e) micro-batches, numbered e·100, e·100 + 1, …
EpochPlan epochs_of(const std::function<int64_t(int64_t)>& count) {
  return [count](int64_t epoch) { return single_batches(count(epoch), epoch * 100); };
}

TrainOptions options_of_length(double epochs, int64_t max_steps, int64_t accumulation) {
  TrainOptions options;
  options.num_train_epochs = epochs;
  options.max_steps = max_steps;
  options.gradient_accumulation_steps = accumulation;
  return options;
}

TEST(StepPlan, AnEpochsLastStepMayBeSmaller) {
  const EpochPlan epochs = epochs_of([](int64_t) { return 10; });
  StepPlan plan(epochs, options_of_length(3, -1, 4));
  EXPECT_EQ(plan.total_steps(), 9);
  EXPECT_EQ(plan.micro_batches(0), (std::vector<MicroBatch>{{0}, {1}, {2}, {3}}));
  EXPECT_EQ(plan.micro_batches(2), (std::vector<MicroBatch>{{8}, {9}}));
  EXPECT_EQ(plan.micro_batches(3), (std::vector<MicroBatch>{{100}, {101}, {102}, {103}}));
  EXPECT_EQ(plan.micro_batches(8), (std::vector<MicroBatch>{{208}, {209}}));
  EXPECT_EQ(plan.micro_batches(1), (std::vector<MicroBatch>{{4}, {5}, {6}, {7}}));  // also an earlier step
  EXPECT_EQ(plan.epochs_after(0), 0.0);
  EXPECT_DOUBLE_EQ(plan.epochs_after(1), 1.0 / 3);
  EXPECT_EQ(plan.epochs_after(3), 1.0);
  EXPECT_DOUBLE_EQ(plan.epochs_after(4), 4.0 / 3);
  EXPECT_EQ(plan.epochs_after(9), 3.0);
}

TEST(StepPlan, FractionsOfEpochsRoundUpAsInTransformers) {
  // transformers: max_steps = ceil(num_train_epochs · ceil(micro-batches / accumulation)).
  const auto total = [](double epochs, int64_t batches, int64_t accumulation) {
    return StepPlan(epochs_of([batches](int64_t) { return batches; }), options_of_length(epochs, -1, accumulation)).total_steps();
  };
  EXPECT_EQ(total(0.5, 3, 1), 2);
  EXPECT_EQ(total(2.5, 3, 1), 8);
  EXPECT_EQ(total(2.5, 5, 2), 8);
  EXPECT_EQ(total(0.01, 3, 1), 1);
  EXPECT_EQ(total(1, 3, 8), 1);
  for (const double epochs : {1.1, 1.2, 2.3, 3.7, 0.7, 1.9}) {
    for (const int64_t steps : {10, 30, 70, 1000}) {
      EXPECT_EQ(total(epochs, steps, 1), static_cast<int64_t>(std::ceil(epochs * static_cast<double>(steps))))
          << epochs << " epochs of " << steps;
    }
  }
}

TEST(StepPlan, MaxStepsGoesThroughAsManyEpochsAsItTakes) {
  const EpochPlan epochs = epochs_of([](int64_t) { return 5; });
  StepPlan plan(epochs, options_of_length(1, 7, 2));
  EXPECT_EQ(plan.total_steps(), 7);
  EXPECT_EQ(plan.micro_batches(6), (std::vector<MicroBatch>{{200}, {201}}));
  EXPECT_DOUBLE_EQ(plan.epochs_after(7), 2 + 1.0 / 3);
}

TEST(StepPlan, EpochsMayDifferInLength) {
  const EpochPlan epochs = epochs_of([](int64_t epoch) { return std::vector<int64_t>{4, 1, 3}[static_cast<size_t>(epoch)]; });
  StepPlan plan(epochs, options_of_length(2.5, -1, 2));
  EXPECT_EQ(plan.total_steps(), 2 + 1 + 1);
  EXPECT_EQ(plan.micro_batches(2), (std::vector<MicroBatch>{{100}}));
  EXPECT_EQ(plan.micro_batches(3), (std::vector<MicroBatch>{{200}, {201}}));
  EXPECT_EQ(plan.epochs_after(3), 2.0);
  EXPECT_EQ(plan.epochs_after(4), 2.5);
}

TEST(StepPlan, AnEpochWithoutExamplesIsADataError) {
  const EpochPlan epochs = epochs_of([](int64_t) { return 0; });
  for (const int64_t max_steps : {-1, 5}) {
    test::expect_error(ErrorKind::kData, {"data.train", "no example"}, [&] { StepPlan(epochs, options_of_length(1, max_steps, 1)); });
  }
}

}  // namespace
}  // namespace lora::train
