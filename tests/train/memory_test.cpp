// The memory estimate beside LibTorch's own count of tensors.
#include <gtest/gtest.h>

#include "support/golden_run.h"
#include "support/tensor_memory.h"

namespace lora::train {
namespace {

using test::GoldenRun;

const std::vector<nn::Recompute> kRecomputations{nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers};

/// What forward and backward of the first micro-batch had at their peak.
int64_t measured(GoldenRun& run, const MicroBatch& batch) {
  run.objective->loss_sum(batch, 0).backward();  // gradients, and what is made once
  test::TensorMemory memory;
  run.objective->loss_sum(batch, 0).backward();
  return memory.peak();
}

void expect_estimate(const std::string& name, const std::vector<std::string>& overrides = {}) {
  GoldenRun run(name, overrides);
  const MicroBatch batch = run.plan->micro_batches(0).front();
  for (const nn::Recompute recompute : kRecomputations) {
    run.objective->set_recompute(recompute);
    const int64_t found = measured(run, batch), estimate = run.objective->training_bytes({run.objective->size(batch)}, recompute);
    const double ratio = static_cast<double>(estimate) / static_cast<double>(found);
    EXPECT_GT(ratio, 0.9) << name << " recompute " << static_cast<int>(recompute) << ": estimate " << estimate << ", found " << found;
    EXPECT_LT(ratio, 1.15) << name << " recompute " << static_cast<int>(recompute) << ": estimate " << estimate << ", found " << found;
  }
}

TEST(Memory, TheEstimateOfAPassIsWhatItsTensorsTake) {
  for (const std::string& name : test::kFamilyCases) {
    expect_estimate(name);
  }
}

TEST(Memory, TheEstimateKnowsWhatIsTrained) {
  for (const char* name : {"gqa", "tied", "full", "gpt2_full", "dora", "embeddings", "modules_to_save"}) {
    expect_estimate(name);
  }
  expect_estimate("tied", {"model.dtype=bfloat16"});
  expect_estimate("gqa", {"adapter.init_from=null", "adapter.layers_to_transform=[1]"});
}

TEST(Memory, TheLargestPartCounts) {
  GoldenRun run("gqa");
  const BatchSize small{4, 10}, wide{4, 30}, supervised{30, 30};
  const auto bytes = [&run](const std::vector<BatchSize>& parts) { return run.objective->training_bytes(parts, nn::Recompute::kNothing); };
  EXPECT_EQ(bytes({small, wide, small}), bytes({wide}));
  EXPECT_GT(bytes({wide}), bytes({small}));
  EXPECT_GT(bytes({supervised}), bytes({wide}));
}

TEST(Memory, AnEvaluationIsCounted) {
  GoldenRun run("gqa");
  run.objective->evaluate();  // what is made once
  test::TensorMemory memory;
  run.objective->evaluate();
  EXPECT_GT(run.objective->evaluation_bytes(), memory.peak() * 9 / 10);
  EXPECT_LT(run.objective->evaluation_bytes(), memory.peak() * 3 / 2);
  EXPECT_EQ(CausalLm(run.model(), run.train_set, nullptr, {}).evaluation_bytes(), 0);
}

}  // namespace
}  // namespace lora::train
