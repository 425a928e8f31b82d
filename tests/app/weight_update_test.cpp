// training.weight_update in whole runs: resuming, with the state in a file, what is saved, and where it has no use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// Full fine-tuning in bfloat16 of a golden case.
class WeightUpdate : public testing::Test {
 protected:
  Outcome train(const std::string& out, const Arguments& keys) const {
    Arguments all{"--config", config_, "--set", "model.dtype=bfloat16", "--set", "output_dir=" + out, "--set", "training.save_steps=4",
                  "--set", "training.lr_scheduler_type=constant", "--set", "training.warmup_steps=0"};
    for (const std::string& key : keys) {
      all.insert(all.end(), {"--set", "training." + key});
    }
    return lora_train(all);
  }
  fs::path folder(const std::string& out) const { return scratch_ / "full" / out; }

  TemporaryFolder scratch_;
  std::string config_ = copy_case("full", scratch_).string();
};

TEST_F(WeightUpdate, ResumesToTheSameBitsAndSavesBfloat16) {
  std::set<std::string> results;
  for (const std::string update : {"in_place", "master_weights", "stochastic_rounding"}) {
    const Arguments keys{"weight_update=" + update}, half = with(keys, {"max_steps=4"}), whole = with(keys, {"max_steps=8"});
    const Outcome straight = train(update, whole);
    ASSERT_EQ(straight.exit_code, 0) << straight.err;
    ASSERT_EQ(train(update + "-resumed", half).exit_code, 0);
    EXPECT_THAT(train(update + "-resumed", with(whole, {"optim_state_file=states"})).err, HasSubstr("Resuming from "));
    const auto tensors = stored_tensors(folder(update));
    EXPECT_TRUE(tensors == stored_tensors(folder(update + "-resumed"))) << update;
    for (const auto& [name, tensor] : tensors) {
      EXPECT_EQ(tensor.dtype, "BF16") << name;
    }
    results.insert(tensors.begin()->second.bytes);
  }
  EXPECT_EQ(results.size(), 3U) << "the ways differ";
  EXPECT_TRUE(stored_tensors(folder("master_weights")) != stored_tensors(folder("stochastic_rounding")));
  const Outcome other = train("seeded", {"weight_update=stochastic_rounding", "max_steps=8", "seed=7"});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_TRUE(stored_tensors(folder("seeded")) != stored_tensors(folder("stochastic_rounding")));
  EXPECT_THAT(other.err, HasSubstr("weight_update stochastic_rounding"));
}

TEST_F(WeightUpdate, IsAnErrorWhereNothingIsRounded) {
  const auto refused = [](const Outcome& outcome, const std::string& part) {
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("training.weight_update"), HasSubstr(part)));
  };
  refused(train("out", {"weight_update=master"}), "expected one of");
  refused(lora_train({"--config", config_, "--set", "training.weight_update=master_weights", "--dry-run"}), "float32");
  const TemporaryFolder other;
  const std::string adapter = copy_case("gqa", other).string();
  refused(lora_train({"--config", adapter, "--set", "model.dtype=bfloat16", "--set", "training.weight_update=stochastic_rounding"}),
          "every trained weight is float32");
}

}  // namespace
}  // namespace lora::test
