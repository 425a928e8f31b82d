// The memory estimate compared with LibTorch's own count of tensors.
#include <gtest/gtest.h>

#include "lora/train/memory_estimate.h"
#include "support/golden_run.h"
#include "support/tensor_memory.h"

namespace lora::train {
namespace {

using test::GoldenRun;

const std::vector<nn::Recompute> kRecomputations{nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers};

/// Every example, `times` times.
MicroBatch documents(const GoldenRun& run, int64_t times) {
  MicroBatch batch;
  for (int64_t i = 0; i < times * static_cast<int64_t>(run.train_set.examples.size()); ++i) {
    batch.push_back(i % static_cast<int64_t>(run.train_set.examples.size()));
  }
  return batch;
}

/// The peak memory of forward and backward of a batch.
int64_t measured(GoldenRun& run, const MicroBatch& batch) {
  run.loss_sum(batch, 0).backward();  // gradients, and whatever is created once
  test::TensorMemory memory;
  run.loss_sum(batch, 0).backward();
  return memory.peak();
}

/// The additional memory for twice the tokens, measured and estimated: excludes what does not grow with them.
void expect_estimate(const std::string& name, const std::vector<std::string>& overrides = {}) {
  GoldenRun run(name, overrides);
  const MicroBatch some = documents(run, 1), more = documents(run, 2);
  for (const nn::Recompute recompute : kRecomputations) {
    run.execution.recompute = recompute;
    const auto estimated = [&](const MicroBatch& batch) {
      return training_bytes(*run.objective, run.model(), {run.objective->size(batch)}, recompute);
    };
    const int64_t found = measured(run, more) - measured(run, some), estimate = estimated(more) - estimated(some);
    const double ratio = static_cast<double>(estimate) / static_cast<double>(found);
    const auto where = name + " recompute " + std::to_string(static_cast<int>(recompute)) + ": estimate " + std::to_string(estimate) +
                       ", found " + std::to_string(found);
    // Rather too much than too little: in models of two layers the gradients of one layer, counted for the widest block, weigh much more
    // than in real ones, and most if little is kept.
    EXPECT_GT(ratio, 0.88) << where;
    EXPECT_LT(ratio, 1.5) << where;
  }
}

TEST(Memory, TheEstimateOfAPassIsWhatItsTensorsTake) {
  for (const std::string& name : test::kFamilyCases) {
    expect_estimate(name);
  }
}

TEST(Memory, TheEstimateKnowsWhatIsTrained) {
  for (const char* name : {"gqa", "tied", "full", "gpt2_full", "dora", "modules_to_save"}) {
    expect_estimate(name);
  }
  expect_estimate("tied", {"model.dtype=bfloat16"});
  expect_estimate("gqa", {"adapter.init_from=null", "adapter.layers_to_transform=[1]"});
}

TEST(Memory, TheLargestPartCounts) {
  GoldenRun run("gqa");
  const BatchSize small{4, 10}, wide{4, 30}, supervised{3000, 30};
  const auto bytes = [&run](const std::vector<BatchSize>& parts) {
    return training_bytes(*run.objective, run.model(), parts, nn::Recompute::kNothing);
  };
  EXPECT_EQ(bytes({small, wide, small}), bytes({wide}));
  EXPECT_GT(bytes({wide}), bytes({small}));
  EXPECT_GT(bytes({supervised}), bytes({wide}));
}

TEST(Memory, AnEvaluationIsCounted) {
  GoldenRun run("gqa", {"training.per_device_eval_batch_size=64"});
  const std::vector<data::Example> once = run.eval_set.examples;
  for (int i = 0; i < 16; ++i) {
    run.eval_set.examples.insert(run.eval_set.examples.end(), once.begin(), once.end());
  }
  run.objective->evaluate();  // for whatever is created once
  test::TensorMemory memory;
  run.objective->evaluate();
  const int64_t estimate = evaluation_bytes(*run.objective, run.model(), run.eval_set, {.batch_size = 64, .shuffle = false});
  EXPECT_GT(estimate, memory.peak() * 8 / 10);
  EXPECT_LT(estimate, memory.peak() * 3 / 2);
}

}  // namespace
}  // namespace lora::train
