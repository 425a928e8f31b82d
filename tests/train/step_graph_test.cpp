#include "lora/train/step_graph.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/golden_run.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using test::GoldenRun;

/// Records on the CPU: recorded work is called again and reads the tensors' current values, as a graph's kernels do.
class CalledAgain : public nn::DeviceGraph {
 public:
  struct Counts {
    int64_t warm_ups = 0, records = 0, replays = 0;
  };
  explicit CalledAgain(Counts& counts) : counts_(counts) {}
  void warm_up(const std::function<void()>& work) override {
    ++counts_.warm_ups;
    work();
  }
  void record(const std::function<void()>& work) override {
    ++counts_.records;
    work_ = work;
  }
  void replay() override {
    ++counts_.replays;
    work_();
  }

 private:
  Counts& counts_;
  std::function<void()> work_;
};

/// As CalledAgain, but runs out of memory when it is to record.
class TooLarge : public CalledAgain {
 public:
  using CalledAgain::CalledAgain;
  void record(const std::function<void()>&) override { throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "out of memory"); }
};

/// As CalledAgain, but for work that waits for the device.
class Waits : public CalledAgain {
 public:
  using CalledAgain::CalledAgain;
  void record(const std::function<void()>&) override { TORCH_CHECK(false, "operation not permitted when stream is capturing\nmore"); }
};

struct Trained {
  std::vector<double> losses, norms;
  std::vector<at::Tensor> tensors;
};

class LossRecorder : public Hook {
 public:
  explicit LossRecorder(Trained& trained) : trained_(trained) {}
  bool on_step(const StepReport& report, TrainerState&) override {
    trained_.losses.push_back(report.loss);
    trained_.norms.push_back(report.grad_norm);
    return false;
  }

 private:
  Trained& trained_;
};

const std::vector<std::string> kLong{"training.max_steps=8", "adapter.lora_dropout=0.3", "training.per_device_train_batch_size=2",
                                     "training.gradient_accumulation_steps=2", "data.shuffle=true"};

Trained train(const std::string& name, std::unique_ptr<nn::DeviceGraph> graph, const std::vector<std::string>& overrides = kLong) {
  GoldenRun run(name, overrides);
  if (graph != nullptr) {
    run.objective->use_graphs(run.parameters(), std::move(graph));
  }
  Trained trained;
  LossRecorder reports(trained);
  TrainerState state;
  run.run(state, {&reports});
  for (const nn::Parameter& parameter : run.parameters()) {
    trained.tensors.push_back(parameter.tensor.detach().clone());
  }
  return trained;
}

void expect_same(const Trained& found, const Trained& expected) {
  ASSERT_EQ(found.losses.size(), expected.losses.size());
  for (size_t i = 0; i < expected.losses.size(); ++i) {
    EXPECT_NEAR(found.losses[i], expected.losses[i], 1e-6 * expected.losses[i]) << "step " << i;
    EXPECT_NEAR(found.norms[i], expected.norms[i], 1e-5 * expected.norms[i]) << "step " << i;
  }
  for (size_t i = 0; i < expected.tensors.size(); ++i) {
    test::expect_close(found.tensors[i], expected.tensors[i], 1e-5);
  }
}

TEST(StepGraph, ExpertsAreRefused) {
  for (const std::string name : {"mixtral", "qwen3_moe"}) {
    CalledAgain::Counts counts;
    test::expect_error(ErrorKind::kConfig, {"training.cuda_graphs", "experts", "Use false"},
                       [&] { train(name, std::make_unique<CalledAgain>(counts), {}); });
    EXPECT_EQ(counts.warm_ups, 0);
  }
}

TEST(StepGraph, ReplayedPassesTrainAsTheyDoOtherwise) {
  for (const std::string name : {"gqa", "tied", "biases"}) {
    CalledAgain::Counts counts;
    expect_same(train(name, std::make_unique<CalledAgain>(counts)), train(name, nullptr));
    EXPECT_EQ(counts.warm_ups, 3) << name;
    EXPECT_EQ(counts.records, 1) << name;
    EXPECT_GT(counts.replays, 4) << name;
  }
}

TEST(StepGraph, ABatchThatDoesNotFitRunsAsItIs) {
  GoldenRun run("gqa", kLong);
  CalledAgain::Counts counts;
  run.objective->use_graphs(run.parameters(), std::make_unique<CalledAgain>(counts));
  std::vector<int64_t> all;
  for (int64_t i = 0; i < static_cast<int64_t>(run.train_set.examples.size()); ++i) {
    all.push_back(i);
  }
  const double expected = run.objective->loss_sum(all, 0).item<double>();
  EXPECT_NEAR(run.objective->add_gradients(all, 0, 1.0).item<double>(), expected, 1e-6 * expected);
  EXPECT_EQ(counts.warm_ups, 0);
}

TEST(StepGraph, WithoutMemoryForTheGraphTheRunGoesOnWithoutIt) {
  CalledAgain::Counts counts;
  expect_same(train("gqa", std::make_unique<TooLarge>(counts)), train("gqa", nullptr));
  EXPECT_EQ(counts.replays, 0);
}

TEST(StepGraph, WhatCannotBeRecordedIsAConfigError) {
  CalledAgain::Counts counts;
  test::expect_error(ErrorKind::kConfig, {"training.cuda_graphs", "operation not permitted when stream is capturing", "Use false"},
                     [&] { train("gqa", std::make_unique<Waits>(counts)); });
  test::expect_error(ErrorKind::kConfig, {"training.cuda_graphs", "cpu", "expected CUDA"}, [] { nn::make_device_graph(at::kCPU); });
}

TEST(StepGraph, AttentionThatReadsLengthsOnTheHostRefuses) {
  GoldenRun run("gqa");
  nn::Batch batch = data::make_batch(run.train_set, {0, 1});
  batch.layout.is_replayed = true;
  EXPECT_THROW(run.model().body->hidden(nn::evaluation_pass(batch)), c10::Error);
}

}  // namespace
}  // namespace lora::train
