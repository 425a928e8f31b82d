#include "lora/train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "support/expect_error.h"
#include "support/fake_objective.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using test::expect_near;
using test::FakeObjective;
using test::FakeRun;

/// Keeps the reports of a run.
class Recorder : public Hook {
 public:
  bool on_step(const StepReport& report, TrainerState&) override {
    reports.push_back(report);
    return static_cast<int64_t>(reports.size()) == stop_after;
  }
  void on_end(TrainerState&) override { ++ends; }
  std::vector<StepReport> reports;
  int64_t stop_after = -1;
  int ends = 0;
};

/// One parameter w, trained by SGD with learning rate 1 unless a test changes that.
struct Bench : FakeRun {
  explicit Bench(std::vector<double> start) : w(at::tensor(start, at::kFloat).requires_grad_(true)), parameters{{"w", w}} {
    options.learning_rate = 1.0;
    options.max_grad_norm = 0;
    options.max_steps = 1;
    options.schedule.kind = optim::ScheduleKind::kConstant;
    options.optimizer.kind = optim::OptimizerKind::kSgd;
  }

  void run(bool half_precision = false, std::vector<Hook*> hooks = {}) {
    StepPlan plan(epochs, options);
    options.schedule.total_steps = plan.total_steps();
    const auto optimizer = optim::make_optimizer(options.optimizer, parameters, options.learning_rate);
    hooks.push_back(&recorder);
    FakeRun::run(parameters, *optimizer, options, plan, hooks, half_precision);
  }
  at::Tensor value() const { return w.detach(); }

  at::Tensor w;
  std::vector<nn::Parameter> parameters;
  TrainOptions options;
  Recorder recorder;
};

at::Tensor floats(std::vector<double> values) {
  return at::tensor(values, at::kFloat);
}

TEST(Trainer, ABatchThatMemoryDoesNotHoldIsHalvedAndTheStepStaysTheSame) {
  const auto train = [](int64_t holds) {
    Bench bench({2.0});
    bench.epochs = [](int64_t) { return std::vector<MicroBatch>{{0, 1, 2, 3, 4}, {5, 6}}; };
    bench.options.gradient_accumulation_steps = 2;
    bench.options.max_steps = 2;
    bench.objective.loss = [&bench, holds](const MicroBatch& batch, int64_t step) {
      if (static_cast<int64_t>(batch.size()) > holds && batch.front() != 0) {
        // Not in the first batch, so that there are gradients already.
        throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "the device is full");
      }
      at::Tensor sum = at::zeros({});
      for (const int64_t i : batch) {
        sum = sum + bench.w.sum() * static_cast<double>(i + 1 + step);
      }
      return sum;
    };
    bench.run();
    return std::tuple(bench.value().item<double>(), bench.recorder.reports.back().loss, bench.state.batch_halvings);
  };
  const auto [whole, whole_loss, none] = train(5);
  const auto [halved, halved_loss, halvings] = train(1);
  EXPECT_EQ(none, 0);
  EXPECT_EQ(halvings, 3);  // five examples in up to eight parts: one each
  EXPECT_NEAR(halved, whole, 1e-6);
  EXPECT_NEAR(halved_loss, whole_loss, 1e-6);
  EXPECT_THROW(train(0), c10::OutOfMemoryError);  // not even one example
}

TEST(Trainer, LossIsTheSumOverTheStepByItsCount) {
  // Micro-batches of one and three examples; example i has loss (i + 1) · w. Never a mean of means.
  Bench bench({2.0});
  bench.epochs = [](int64_t) { return std::vector<MicroBatch>{{0}, {1, 2, 3}}; };
  bench.objective.loss = [&](const MicroBatch& batch, int64_t) {
    at::Tensor sum = at::zeros({});
    for (const int64_t i : batch) {
      sum = sum + bench.w.sum() * static_cast<double>(i + 1);
    }
    return sum;
  };
  bench.options.gradient_accumulation_steps = 2;
  bench.run();
  const StepReport& report = bench.recorder.reports.at(0);
  EXPECT_DOUBLE_EQ(report.loss, 2.0 * (1 + 2 + 3 + 4) / 4);
  EXPECT_NEAR(report.grad_norm, 2.5, 1e-6);
  expect_near(bench.value(), floats({2.0 - 2.5}), 1e-6);
  EXPECT_EQ(report.size.supervised, 4);
  EXPECT_EQ(report.size.input, 8);
  EXPECT_EQ(report.step, 1);
  EXPECT_EQ(report.total_steps, 1);
  EXPECT_EQ(report.epoch, 1.0);
  EXPECT_EQ(bench.state.step, 1);
  EXPECT_EQ(bench.recorder.ends, 1);
}

TEST(Trainer, PartsSideBySideAreTheSameStep) {
  // Those with one example run separately. In another order the gradients would have another sum: 1 + 2^24 = 2^24 in float32.
  const test::Threads threads(2);
  const auto train = [](bool side_by_side) {
    Bench bench({1.0});
    bench.epochs = [](int64_t) { return std::vector<MicroBatch>{{0}, {1, 2}, {3, 4, 5}, {6, 7}, {8}, {9, 10}}; };
    bench.execution.lanes = side_by_side ? kLanes : 1;
    bench.objective.input = [](const MicroBatch& part) { return part.size() > 1 ? static_cast<int64_t>(part.size()) : 10'000; };
    std::atomic<int> begun = 0;
    bench.objective.loss = [&](const MicroBatch& batch, int64_t) {
      if (side_by_side && batch.front() == 3 && ++begun == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));  // the largest, which is added first, is done last
      }
      return bench.w.sum() * (batch.front() == 3 ? std::pow(2.0, 26) : 6.0);
    };
    bench.options.gradient_accumulation_steps = 6;
    bench.run();
    return std::pair(bench.value().item<double>(), bench.recorder.reports.at(0).loss);
  };
  const auto [alone, alone_loss] = train(false);
  const auto [alongside, alongside_loss] = train(true);
  EXPECT_NEAR(alongside_loss, alone_loss, 1e-9 * alone_loss);
  EXPECT_NEAR(alongside / alone, 1.0, 1e-6);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(train(true).first, alongside);
  }
}

TEST(Trainer, AnErrorInAPartThatRunsAlongsideOthersEndsTheRun) {
  const test::Threads threads(2);
  Bench bench({1.0});
  bench.epochs = [](int64_t) { return test::single_batches(6); };
  bench.execution.lanes = kLanes;
  bench.objective.loss = [&](const MicroBatch& batch, int64_t) {
    if (batch.front() == 2) {
      throw Error(ErrorKind::kData, "row 2", "is broken");
    }
    return bench.w.sum();
  };
  bench.options.gradient_accumulation_steps = 6;
  test::expect_error(ErrorKind::kData, {"row 2", "is broken"}, [&] { bench.run(); });
  EXPECT_EQ(bench.state.step, 0);
}

TEST(Objective, WhatIsComputedAtOnceIsTheLargestOfThoseSideBySide) {
  FakeObjective objective;
  objective.input = [](const MicroBatch& part) { return static_cast<int64_t>(part.size()) * (part.size() < 4 ? 100 : 1000); };
  const Execution execution{.lanes = kLanes};
  std::vector<int64_t> inputs;
  for (const BatchSize& size : sizes_at_once({{0}, {1, 2, 3, 4}, {5, 6, 7}, {8, 9}, {10, 11, 12, 13, 14}}, objective, execution)) {
    inputs.push_back(size.input);
  }
  EXPECT_EQ(inputs, (std::vector<int64_t>{4000, 5000, 300 + 200}));
  EXPECT_TRUE(sizes_at_once({}, objective, execution).empty());
}

/// Keeps what each step expected to be computed.
class Expectations : public Hook {
 public:
  explicit Expectations(const FakeRun& run) : run_(run) {}
  bool on_step(const StepReport&, TrainerState&) override {
    all.push_back(run_.runner->expected());
    return false;
  }
  std::vector<std::vector<MicroBatch>> all;

 private:
  const FakeRun& run_;
};

TEST(Trainer, SaysWhichBatchesComeNext) {
  Bench bench({2.0});
  bench.execution.prefetch = true;
  bench.epochs = [](int64_t epoch) { return test::single_batches(3, 10 * epoch); };
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return bench.w.sum(); };
  bench.options.gradient_accumulation_steps = 2;
  bench.options.max_steps = 3;
  Expectations found(bench);
  bench.run(/*half_precision=*/false, {&found});
  const std::vector<std::vector<MicroBatch>> expected{{{0}, {1}, {2}}, {{2}, {10}}, {{10}, {11}}};
  EXPECT_EQ(found.all, expected);
}

TEST(Trainer, GradientsOfAStepDoNotReachTheNext) {
  Bench bench({1.0, 1.0});
  bench.options.max_steps = 3;
  std::vector<int64_t> steps;
  bench.objective.loss = [&](const MicroBatch&, int64_t step) {
    steps.push_back(step);
    return bench.w.slice(0, step % 2, step % 2 + 1).sum();
  };
  bench.run();
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 1, 2}));
  expect_near(bench.value(), floats({1.0 - 2, 1.0 - 1}), 1e-6);
}

TEST(Trainer, ClipsByTheNormOfAllAndReportsItBefore) {
  Bench bench({0.0, 0.0});
  bench.options.max_grad_norm = 1.0;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return (bench.w * floats({3.0, 4.0})).sum(); };
  bench.run();
  EXPECT_NEAR(bench.recorder.reports.at(0).grad_norm, 5.0, 1e-6);
  expect_near(bench.value(), floats({-0.6, -0.8}), 1e-5);
}

TEST(Trainer, TheScheduleGivesEachStepsLearningRate) {
  Bench bench({0.0});
  bench.options.max_steps = 4;
  bench.options.learning_rate = 0.5;
  bench.options.schedule.kind = optim::ScheduleKind::kLinear;
  bench.options.schedule.warmup_steps = 2;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return bench.w.sum(); };
  bench.run();
  std::vector<double> rates;
  for (const StepReport& report : bench.recorder.reports) {
    rates.push_back(report.learning_rate);
  }
  EXPECT_EQ(rates, (std::vector<double>{0.0, 0.25, 0.5, 0.25}));
  expect_near(bench.value(), floats({-1.0}), 1e-6);
}

TEST(Trainer, AHookEndsTheRunAndARunGoesOnFromItsState) {
  Bench bench({0.0});
  bench.options.max_steps = 9;
  bench.recorder.stop_after = 4;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return bench.w.sum(); };
  bench.run();
  EXPECT_EQ(bench.state.step, 4);
  EXPECT_EQ(bench.recorder.ends, 1);
  bench.run();
  EXPECT_EQ(bench.state.step, 9);
  EXPECT_EQ(bench.recorder.reports.at(4).step, 5);
  EXPECT_EQ(bench.recorder.reports.size(), 9U);
}

TEST(Trainer, ANonFiniteLossOrGradientEndsTheRunUnapplied) {
  for (const bool by_loss : {true, false}) {
    Bench bench({0.0, 3.0});
    bench.options.max_steps = 5;
    bench.objective.loss = [&](const MicroBatch&, int64_t step) {
      const at::Tensor harmless = bench.w.sum();
      if (step < 2) {
        return harmless * 0;
      }
      return by_loss ? harmless / 0.0 : bench.w.slice(0, 0, 1).sqrt().sum();  // 0 with an infinite slope
    };
    test::expect_error(ErrorKind::kDiverged,
                       {"step 3", by_loss ? "the loss is not finite" : "the gradient is not finite", "example 0", "not applied"},
                       [&] { bench.run(); });
    expect_near(bench.value(), floats({0.0, 3.0}), 0.0);
    EXPECT_EQ(bench.state.step, 2);
    EXPECT_EQ(bench.recorder.ends, 0);
  }
}

/// A loss whose gradient passes through float16: 2 per element.
at::Tensor half_loss(const at::Tensor& w) {
  return (w.to(at::kHalf) * 2).to(at::kFloat).sum();
}

TEST(LossScale, AnOverflowSkipsTheUpdateAndHalvesTheScale) {
  Bench bench({0.0, 0.0});
  bench.options.max_steps = 4;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return half_loss(bench.w); };
  bench.run(/*half_precision=*/true);
  // 65536 is not representable in float16, and neither is 32768 · 2; 16384 · 2 is.
  EXPECT_EQ(bench.state.loss_scale, 16384.0);
  EXPECT_EQ(bench.state.loss_scale_growth, 2);
  EXPECT_EQ(bench.state.step, 4);
  EXPECT_FALSE(std::isfinite(bench.recorder.reports.at(1).grad_norm));
  EXPECT_NEAR(bench.recorder.reports.at(2).grad_norm, std::sqrt(8.0), 1e-6);  // of the unscaled gradient
  expect_near(bench.value(), floats({-4.0, -4.0}), 1e-6);                     // two updates of two
}

TEST(LossScale, GrowsAfterTwoThousandGoodSteps) {
  Bench bench({0.0});
  bench.state.loss_scale = 8.0;
  bench.state.loss_scale_growth = 1998;
  bench.options.max_steps = 3;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return half_loss(bench.w); };
  bench.run(/*half_precision=*/true);
  EXPECT_EQ(bench.state.loss_scale, 16.0);
  EXPECT_EQ(bench.state.loss_scale_growth, 1);
}

TEST(LossScale, GivesUpWhereNoScaleHelps) {
  Bench bench({0.0});
  bench.options.max_steps = 100;
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return bench.w.sqrt().sum(); };
  test::expect_error(ErrorKind::kDiverged, {"step 17", "the gradient is not finite"}, [&] { bench.run(/*half_precision=*/true); });
  expect_near(bench.value(), floats({0.0}), 0.0);
}

TEST(LossScale, IsNotUsedInWiderTypes) {
  Bench bench({0.0});
  bench.objective.loss = [&](const MicroBatch&, int64_t) { return bench.w.sum(); };
  bench.run();
  EXPECT_EQ(bench.state.loss_scale, 0.0);
}

}  // namespace
}  // namespace lora::train
