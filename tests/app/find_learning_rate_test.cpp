// lora-train --find-learning-rate.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "process.h"

namespace lora::test {
namespace {

using testing::HasSubstr;

TEST(FindLearningRate, ShowsHowTheLossFollowsTheRate) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  const Outcome outcome = lora_train({"--config", config, "--set", "training.optim=sgd", "--find-learning-rate"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const fs::path out = scratch / "gqa/out";
  const std::vector<std::string> lines = split(trim(read_text(out / "learning_rate.csv")), '\n');
  ASSERT_GT(lines.size(), 20u);
  EXPECT_LE(lines.size(), 101u);
  EXPECT_EQ(lines[0], "learning_rate,loss,smoothed_loss");
  EXPECT_EQ(split(lines[1], ',')[0], "1e-07");
  // Before its first update, the loss is that of the run's first step.
  const Outcome run = lora_train({"--config", config, "--set", "training.max_steps=1", "--set", "training.logging_steps=1"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NEAR(std::stod(split(lines[1], ',')[1]), read_rows(out / "metrics.jsonl").front()["loss"].get<double>(), 1e-5);
  EXPECT_EQ(split(lines[1], ',')[1], split(lines[1], ',')[2]);
  EXPECT_THAT(outcome.out, HasSubstr("smoothed loss"));
  EXPECT_THAT(outcome.out, testing::AnyOf(HasSubstr("Suggested learning rate: "), HasSubstr("No suggestion")));
  EXPECT_THAT(read_text(out / "learning_rate.svg"), testing::AllOf(testing::StartsWith("<svg"), testing::EndsWith("</svg>\n")));

  const Outcome several = lora_train({"--config", config, "--set", R"(adapter=[{"target_modules": ["q_proj"]}, {"target_modules": ["v_proj"]}])",
                                      "--find-learning-rate"});
  EXPECT_EQ(several.exit_code, 2);
  EXPECT_THAT(several.err, HasSubstr("[--find-learning-rate] tests one run: found 2"));
  for (const char* unused : {"--dry-run", "--overwrite", "--resume=never"}) {
    EXPECT_EQ(lora_train({"--config", config, "--find-learning-rate", unused}).exit_code, 2) << unused;
  }
}

}  // namespace
}  // namespace lora::test
