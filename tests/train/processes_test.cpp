// What processes that train together agree about and add up; here they are threads.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/train/agreement.h"
#include "support/fake_objective.h"
#include "support/tensors.h"
#include "support/thread_group.h"
#include "train/gradients.h"

namespace lora::train {
namespace {

TEST(Agreement, WhatIsSoInOneProcessIsSoInAll) {
  std::vector<char> first(3), last(3), none(3);
  test::ThreadGroup(3).run([&](comm::Communicator& communicator) {
    const Agreement agreement(communicator);
    const auto rank = static_cast<size_t>(communicator.rank());
    first[rank] = agreement.any(rank == 0);
    last[rank] = agreement.any(rank == 2);
    none[rank] = agreement.any(false);
  });
  EXPECT_EQ(first, (std::vector<char>{1, 1, 1}));
  EXPECT_EQ(last, (std::vector<char>{1, 1, 1}));
  EXPECT_EQ(none, (std::vector<char>{0, 0, 0}));
}

TEST(Agreement, ASingleProcessAgreesWithItself) {
  const auto alone = comm::make_single_process();
  const Agreement agreement(*alone);
  EXPECT_TRUE(agreement.any(true));
  EXPECT_FALSE(agreement.any(false));
  EXPECT_EQ(agreement.interrupt_signal(), 0);
}

/// Parameters with these gradients; 0: none.
std::vector<nn::Parameter> parameters_with(const std::vector<double>& gradients) {
  std::vector<nn::Parameter> parameters;
  for (const double gradient : gradients) {
    parameters.push_back({"w" + std::to_string(parameters.size()), at::zeros({2}).requires_grad_(true)});
    if (gradient != 0) {
      parameters.back().tensor.mutable_grad() = at::full({2}, gradient);
    }
  }
  return parameters;
}

TEST(Gradients, AreSummedOverProcesses) {
  std::vector<std::vector<nn::Parameter>> all{parameters_with({1, 2, 0, 0}), parameters_with({4, 0, 8, 0})};
  test::ThreadGroup(2).run(
      [&](comm::Communicator& communicator) { sum_gradients(all[static_cast<size_t>(communicator.rank())], communicator); });
  for (const std::vector<nn::Parameter>& parameters : all) {
    test::expect_equal(parameters[0].tensor.grad(), at::full({2}, 5.0));
    test::expect_equal(parameters[1].tensor.grad(), at::full({2}, 2.0));
    test::expect_equal(parameters[2].tensor.grad(), at::full({2}, 8.0));
    EXPECT_FALSE(parameters[3].tensor.grad().defined()) << "without a gradient anywhere";
  }
}

TEST(Gradients, OfASingleProcessAreUntouched) {
  const std::vector<nn::Parameter> parameters = parameters_with({3, 0});
  const void* const data = parameters[0].tensor.grad().const_data_ptr();
  sum_gradients(parameters, *comm::make_single_process());
  EXPECT_EQ(parameters[0].tensor.grad().const_data_ptr(), data);
  EXPECT_FALSE(parameters[1].tensor.grad().defined());
}

/// One parameter, trained by one step of SGD on the micro-batches of each process.
struct Process {
  explicit Process(std::vector<MicroBatch> batches) {
    options.learning_rate = 1.0;
    options.max_grad_norm = 0;
    options.max_steps = 1;
    options.gradient_accumulation_steps = 4;
    options.schedule.kind = optim::ScheduleKind::kConstant;
    options.optimizer.kind = optim::OptimizerKind::kSgd;
    run.epochs = [batches](int64_t) { return batches; };
    run.objective.loss = [this](const MicroBatch& batch, int64_t) {
      if (static_cast<int64_t>(batch.size()) > holds) {
        throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "the device is full");
      }
      at::Tensor sum = at::zeros({});
      for (const int64_t i : batch) {
        sum = sum + w.sum() * static_cast<double>(i + 1);
      }
      return sum;
    };
  }

  void train(comm::Communicator& communicator) {
    const std::vector<nn::Parameter> parameters{{"w", w}};
    StepPlan plan(run.epochs, options);
    options.schedule.total_steps = plan.total_steps();
    const auto optimizer = optim::make_optimizer(options.optimizer, parameters, options.learning_rate);
    StepRunner runner({run.objective, run.examples, parameters, communicator}, run.execution, options.seed);
    Trainer({run.objective, runner, parameters, *optimizer, communicator, {&report}}, options, plan, false).run(run.state);
  }

  /// Keeps the loss of the last step.
  struct Report : Hook {
    bool on_step(const StepReport& step, TrainerState&) override {
      loss = step.loss;
      size = step.size;
      return false;
    }
    double loss = 0;
    BatchSize size;
  };

  at::Tensor w = at::full({1}, 2.0).requires_grad_(true);
  test::FakeRun run;
  TrainOptions options;
  int64_t holds = 100;
  Report report;
};

TEST(Processes, TogetherTakeTheStepOfOne) {
  const MicroBatch some{0, 1, 2}, other{3};
  Process alone({some, other});
  alone.train(*alone.run.communicator);
  Process first(std::vector<MicroBatch>{some}), second(std::vector<MicroBatch>{other});
  first.holds = 1;
  test::ThreadGroup(2).run([&](comm::Communicator& communicator) { (communicator.is_first() ? first : second).train(communicator); });
  for (const Process* process : {&first, &second}) {
    test::expect_near(process->w.detach(), alone.w.detach(), 1e-6);
    EXPECT_NEAR(process->report.loss, alone.report.loss, 1e-9);
    EXPECT_EQ(process->report.size.supervised, alone.report.size.supervised);
    EXPECT_EQ(process->report.size.input, alone.report.size.input);
    EXPECT_EQ(process->run.state.batch_halvings, 2) << "memory is short in one of them";
  }
}

TEST(Processes, OneMayHaveNoMicroBatchLeft) {
  const MicroBatch some{0, 1, 2};
  Process alone({some});
  alone.train(*alone.run.communicator);
  Process first(std::vector<MicroBatch>{some}), second(std::vector<MicroBatch>{MicroBatch()});
  for (Process* process : {&first, &second}) {
    process->run.execution.prefetch = true;
  }
  test::ThreadGroup(2).run([&](comm::Communicator& communicator) { (communicator.is_first() ? first : second).train(communicator); });
  for (const Process* process : {&first, &second}) {
    test::expect_near(process->w.detach(), alone.w.detach(), 1e-6);
    EXPECT_NEAR(process->report.loss, alone.report.loss, 1e-9);
  }
}

TEST(Processes, AllEndIfOneIsOutOfMemoryWithSingleDocuments) {
  Process first(std::vector<MicroBatch>{{0, 1, 2}}), second(std::vector<MicroBatch>{{3}});
  second.holds = 0;
  std::vector<std::string> ends(2);
  test::ThreadGroup(2).run([&](comm::Communicator& communicator) {
    std::string& end = ends[static_cast<size_t>(communicator.rank())];
    try {
      (communicator.is_first() ? first : second).train(communicator);
    } catch (const c10::OutOfMemoryError&) {
      end = "out of memory";
    } catch (const Error& error) {
      end = error.what();
    }
  });
  EXPECT_NE(ends[0].find("[memory] another process is out of memory"), std::string::npos) << ends[0];
  EXPECT_EQ(ends[1], "out of memory");
}

TEST(Processes, ShareTheMicroBatchesOfAnEpoch) {
  const data::Dataset documents = test::small_documents(5);
  std::vector<std::vector<MicroBatch>> own(2);
  test::ThreadGroup(2).run([&](comm::Communicator& communicator) {
    own[static_cast<size_t>(communicator.rank())] = epoch_plan(documents, {.batch_size = 1, .shuffle = false}, communicator)(0);
  });
  EXPECT_EQ(own[0], (std::vector<MicroBatch>{{0}, {2}, {4}}));
  EXPECT_EQ(own[1], (std::vector<MicroBatch>{{1}, {3}, {}})) << "as many as the other";
  EXPECT_EQ(epoch_plan(documents, {.batch_size = 2, .shuffle = false}, *comm::make_single_process())(0),
            (std::vector<MicroBatch>{{0, 1}, {2, 3}, {4}}));
}

}  // namespace
}  // namespace lora::train
