// Full fine-tuning in bfloat16 with float32 master weights against a plain PyTorch loop (scripts/golden/master_weights.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "support/golden_run.h"

namespace lora::train {
namespace {

/// bfloat16 has 8 bits: losses of both runs differ by their roundings, and so does the direction of small gradients under AdamW.
constexpr double kLossBound = 2e-2;
constexpr double kMovementBound = 5e-2;

TEST(MasterWeights, FollowPyTorchsLoopFor20Steps) {
  test::GoldenRun run("full", {"model.dtype=bfloat16", "training.weight_update=master_weights", "training.max_steps=20"});
  const Json expected = Json::parse(read_file(run.golden.folder / "expected_master_weights.json", ErrorKind::kModel));
  const auto masters = [&run] {
    std::map<std::string, at::Tensor> found;
    for (const io::NamedTensor& entry : run.optimizer->state()) {
      if (entry.name.ends_with(".master_weight")) {
        found.emplace(entry.name.substr(0, entry.name.rfind('.')), entry.tensor.clone());
      }
    }
    return found;
  };
  const std::map<std::string, at::Tensor> before = masters();
  ASSERT_EQ(before.size(), expected["moved"].size());
  test::CollectingSink sink;
  LoggingHook logging(1, {&sink}, [] { return int64_t{0}; });
  TrainerState state;
  run.run(state, {&logging});
  ASSERT_EQ(sink.rows.size(), expected["steps"].size());
  for (size_t i = 0; i < sink.rows.size(); ++i) {
    const double loss = expected["steps"][i]["loss"].get<double>();
    EXPECT_NEAR(sink.rows[i]["loss"].get<double>(), loss, kLossBound * loss) << "step " << i + 1;
  }
  for (const auto& [name, master] : masters()) {
    const double moved = (master - before.at(name)).norm().item<double>();
    EXPECT_NEAR(moved, expected["moved"][name].get<double>(), kMovementBound * moved) << name;
  }
  for (const nn::Parameter& parameter : run.parameters()) {
    EXPECT_EQ(parameter.tensor.scalar_type(), at::kBFloat16) << parameter.name;
    EXPECT_TRUE(at::equal(parameter.tensor.detach(), masters().at(parameter.name).to(at::kBFloat16))) << parameter.name;
  }
}

}  // namespace
}  // namespace lora::train
