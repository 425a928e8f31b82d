// What "auto" chooses for a memory that the test gives.
#include <gtest/gtest.h>

#include "app/memory_plan.h"
#include "lora/train/causal_lm.h"
#include "support/golden_run.h"
#include "support/single_thread.h"

namespace lora::app {
namespace {

using nn::Recompute;

/// A run whose micro-batches are small enough to be computed at once, so that memory grows with the batch as it does on a GPU.
struct Bench {
  explicit Bench(const std::vector<std::string>& overrides) : run("gqa", overrides) {
    run.train_set.examples.assign(16, run.train_set.examples.front());  // of one length, so that each batch has the same kernels
  }

  MemoryPlan plan(std::optional<int64_t> usable, std::optional<int64_t> found = {}) {
    return plan_memory({run.config, run.model(), *run.method, *run.objective, run.train_set, nullptr, usable, found});
  }
  int64_t documents() const { return static_cast<int64_t>(run.train_set.examples.size()); }

  test::GoldenRun run;
};

constexpr int64_t kPlenty = int64_t{1} << 50;
const std::string kAutoBatch = "training.per_device_train_batch_size=auto";
const std::string kAutoRecompute = "training.gradient_checkpointing=auto";

TEST(MemoryPlan, TheBatchIsTheLargestPowerOfTwoThatFits) {
  Bench bench({kAutoBatch});
  const MemoryPlan largest = bench.plan(kPlenty);
  EXPECT_LE(largest.batch_size, bench.documents());
  EXPECT_GT(2 * largest.batch_size, std::min<int64_t>(64, bench.documents()));
  ASSERT_GE(largest.batch_size, 4);
  for (int64_t size = largest.batch_size; size >= 2; size /= 2) {
    const int64_t needed = bench.plan(kPlenty, size).bytes;
    EXPECT_EQ(bench.plan(needed).batch_size, size);
    EXPECT_EQ(bench.plan(needed - 1).batch_size, size / 2);
    EXPECT_LE(bench.plan(needed - 1).bytes, needed - 1);
  }
  EXPECT_EQ(bench.plan(1).batch_size, 1) << "nothing fits";
  EXPECT_EQ(bench.plan(std::nullopt).batch_size, 8) << "memory is not known";
  EXPECT_EQ(bench.plan(1, 4).batch_size, 4) << "found by the run that is resumed";
}

TEST(MemoryPlan, ANumberStaysAsItIs) {
  Bench bench({"training.per_device_train_batch_size=3"});
  for (const std::optional<int64_t> usable : {std::optional<int64_t>(), std::optional<int64_t>(1), std::optional<int64_t>(kPlenty)}) {
    EXPECT_EQ(bench.plan(usable).batch_size, 3);
    EXPECT_EQ(bench.plan(usable).execution.recompute, Recompute::kNothing);
  }
}

TEST(MemoryPlan, RecomputationComesAfterSmallerBatches) {
  Bench bench({kAutoBatch, kAutoRecompute});
  const MemoryPlan one = bench.plan(bench.plan(kPlenty, 1).bytes);
  EXPECT_EQ(one.batch_size, 1);
  EXPECT_EQ(one.execution.recompute, Recompute::kNothing);
  EXPECT_NE(bench.plan(one.bytes - 1).execution.recompute, Recompute::kNothing);
  const MemoryPlan nothing_fits = bench.plan(1);
  EXPECT_EQ(nothing_fits.batch_size, 1);
  EXPECT_EQ(nothing_fits.execution.recompute, Recompute::kLayers);
  EXPECT_EQ(to_json(nothing_fits)["gradient_checkpointing"], "full");
}

TEST(MemoryPlan, GradientsStandBesideActivationsWhereAStepHasSeveralParts) {
  const auto bytes = [](const std::string& accumulation) {
    Bench bench({"training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=" + accumulation});
    return bench.plan(kPlenty).bytes;
  };
  EXPECT_GT(bytes("2"), bytes("1"));
  EXPECT_EQ(bytes("2"), bytes("4"));
}

TEST(MemoryPlan, PartsRunSideBySideWhereThereAreThreads) {
  test::GoldenRun run("gqa", {"model.dtype=bfloat16", "training.per_device_train_batch_size=4"});
  const auto plan = [&run](int threads, std::optional<int64_t> usable) {
    const test::Threads some(threads);
    return plan_memory({run.config, run.model(), *run.method, *run.objective, run.train_set, &run.eval_set, usable, {}});
  };
  const MemoryPlan alone = plan(1, kPlenty);
  EXPECT_FALSE(train::runs_alongside_others({0}, *run.objective, alone.execution));
  for (const std::optional<int64_t> usable : {std::optional<int64_t>(), std::optional<int64_t>(1), std::optional<int64_t>(kPlenty)}) {
    const MemoryPlan together = plan(2, usable);
    EXPECT_GE(together.bytes, alone.bytes);
    EXPECT_TRUE(train::runs_alongside_others({0}, *run.objective, together.execution))
        << "whatever memory there is: a run that goes on has the same bits";
  }
}

/// An objective that makes the bare model compute in between.
struct WithBareModel : train::CausalLm {
  using CausalLm::CausalLm;
  bool runs_concurrently() const override { return false; }
};

TEST(MemoryPlan, PartsRunOneAfterTheOtherIfTheObjectiveChangesTheModel) {
  test::GoldenRun run("gqa", {"model.dtype=bfloat16", "training.per_device_train_batch_size=4"});
  const WithBareModel objective({run.model(), run.train_set});
  const test::Threads some(2);
  const auto plan = [&](const train::Objective& own) {
    return plan_memory({run.config, run.model(), *run.method, own, run.train_set, nullptr, kPlenty, {}});
  };
  EXPECT_TRUE(train::runs_alongside_others({0}, *run.objective, plan(*run.objective).execution));
  EXPECT_FALSE(train::runs_alongside_others({0}, objective, plan(objective).execution));
}

TEST(MemoryPlan, NineTenthsOfTheMachineAreUsable) {
  const std::optional<int64_t> usable = usable_memory_bytes(at::kCPU);
  ASSERT_TRUE(usable.has_value());
  EXPECT_GT(*usable, int64_t{1} << 20);
}

}  // namespace
}  // namespace lora::app
