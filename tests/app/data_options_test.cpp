// data.cache_dir and data.tokens_per_batch in lora-train.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(DataOptions, ACacheChangesNothingButTheTime) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const auto train = [&](const char* out, const char* cache) {
    return lora_train({"--config", config, "--set", std::string("output_dir=") + out, "--set", std::string("data.cache_dir=") + cache});
  };
  ASSERT_EQ(train("plain", "null").exit_code, 0);
  const Outcome cold = train("cold", "cache"), warm = train("warm", "cache");
  ASSERT_EQ(warm.exit_code, 0) << warm.err;
  EXPECT_THAT(cold.err, Not(HasSubstr("tokenised data from")));
  EXPECT_THAT(warm.err, HasSubstr("data.train: using tokenised data from"));
  EXPECT_THAT(warm.err, HasSubstr("data.eval: using tokenised data from"));
  EXPECT_EQ(files_in(scratch / "tied/cache").size(), 2U);
  EXPECT_EQ(result_hash(scratch / "tied/cold"), result_hash(scratch / "tied/plain"));
  EXPECT_EQ(result_hash(scratch / "tied/warm"), result_hash(scratch / "tied/plain"));
  // The cache folder is no part of the run's identity.
  EXPECT_THAT(train("plain", "cache").err, HasSubstr("already finished"));
}

/// Requests batches by tokens instead of by documents.
void set_budget(const fs::path& config, int64_t budget, bool packing) {
  Json run = Json::parse(read_text(config));
  run["data"]["tokens_per_batch"] = budget;
  run["data"]["packing"] = packing;
  run["data"]["max_length"] = 24;
  run["data"]["shuffle"] = true;
  run["training"].erase("per_device_train_batch_size");
  run["training"]["gradient_accumulation_steps"] = 1;
  run["training"]["max_steps"] = -1;
  run["training"]["num_train_epochs"] = 2;
  write_text(config, run.dump());
}

TEST(DataOptions, BatchesByTokens) {
  for (const bool packing : {false, true}) {
    const TemporaryFolder scratch;
    const fs::path config = copy_case("gqa", scratch);
    set_budget(config, 60, packing);
    const Outcome dry = lora_train({"--config", config.string(), "--dry-run"});
    EXPECT_THAT(dry.err, HasSubstr("(up to 60 tokens x 1 accumulated per step)"));
    const std::vector<std::string> whole{"--config", config.string(), "--set", "training.save_steps=5"};
    const Outcome outcome = lora_train(whole);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    int64_t tokens = 0, steps = 0;
    const fs::path out = scratch / "gqa/out";
    for (const Json& row : read_rows(out / "metrics.jsonl")) {
      if (row.contains("loss")) {
        EXPECT_LE(row["num_input_tokens"].get<int64_t>(), 60);
        tokens += row["num_input_tokens"].get<int64_t>();
        ++steps;
      }
    }
    EXPECT_THAT(dry.err, HasSubstr("steps        " + std::to_string(steps) + " "));
    EXPECT_LT(static_cast<double>(steps), 1.6 * static_cast<double>(tokens) / 60) << "batches are badly filled";
    const std::string result = result_hash(out);
    const std::string resumed = (out / "checkpoint-5").string();
    ASSERT_EQ(lora_train({"--config", config.string(), "--set", "training.save_steps=5", "--resume", resumed}).exit_code, 0);
    EXPECT_EQ(result_hash(out), result);
  }
}

TEST(DataOptions, ATokenBudgetWithABatchSizeIsRefused) {
  const TemporaryFolder scratch;
  const Outcome outcome = lora_train({"--config", copy_case("gqa", scratch).string(), "--set", "data.tokens_per_batch=64"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("[training.per_device_train_batch_size] found 2 with data.tokens_per_batch 64"));
}

}  // namespace
}  // namespace lora::test
