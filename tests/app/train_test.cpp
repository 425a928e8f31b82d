// Runs of lora-train: results equal to the goldens, metrics, resuming, signals, output folders.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kResumable{"--set", "training.save_steps=3",   "--set", "data.shuffle=true",
                                          "--set", "adapter.lora_dropout=0.2"};

/// Waits, for at most a minute, until a running process reaches a state.
template <typename Reached>
void wait_until(const Reached& reached) {
  for (int i = 0; i < 12000 && !reached(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void wait_for_rows(const fs::path& folder, size_t count) {
  wait_until([&] { return read_rows(folder / "metrics.jsonl").size() >= count; });
}

void expect_near_value(const Json& found, const Json& expected, const char* key, double relative) {
  const double want = expected[key].get<double>();
  EXPECT_NEAR(found[key].get<double>(), want, relative * std::abs(want) + 1e-12) << key << " at step " << expected["step"];
}

TEST(Train, EqualsTheReferencesMetricsAndFiles) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("gqa", scratch);
  const Outcome outcome = lora_train({"--config", config.string()});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const fs::path out = scratch / "gqa/out";
  const Json expected = Json::parse(read_text(scratch / "gqa/expected.json"));
  std::vector<Json> steps;
  Json last_eval;
  for (const Json& row : read_rows(out / "metrics.jsonl")) {
    row.contains("loss") ? steps.push_back(row) : void(last_eval = row);
  }
  ASSERT_EQ(steps.size(), expected["steps"].size());
  for (size_t i = 0; i < steps.size(); ++i) {
    expect_near_value(steps[i], expected["steps"][i], "loss", 1e-5);
    expect_near_value(steps[i], expected["steps"][i], "learning_rate", 1e-5);
    expect_near_value(steps[i], expected["steps"][i], "grad_norm", 2e-4);
    EXPECT_EQ(steps[i]["num_tokens"], expected["steps"][i]["num_tokens"]);
    EXPECT_EQ(steps[i]["num_input_tokens"], expected["steps"][i]["num_input_tokens"]);
  }
  EXPECT_NEAR(last_eval["eval_loss"].get<double>(), expected["eval_loss"].get<double>(), 1e-5);
  EXPECT_NEAR(last_eval["eval_perplexity"].get<double>(), std::exp(expected["eval_loss"].get<double>()), 1e-2);
  const Json run = Json::parse(read_text(out / "run.json"));
  EXPECT_EQ(run["status"], "finished");
  EXPECT_EQ(run["sha256"]["base"]["config.json"], sha256_of_file(scratch / "gqa/model/config.json", ErrorKind::kModel));
  EXPECT_THAT(outcome.err, HasSubstr("trainable"));
  EXPECT_THAT(outcome.err, HasSubstr("PeftModel.from_pretrained"));
}

TEST(Train, AFinishedRunSaysSoAndAnotherRunsFolderIsRefused) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  ASSERT_EQ(lora_train({"--config", config}).exit_code, 0);
  const std::string result = result_hash(scratch / "gqa/out");
  const Outcome again = lora_train({"--config", config});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("already finished"));

  fs::remove(scratch / "gqa/out/adapter_model.safetensors");  // finished, but the result was removed
  ASSERT_EQ(lora_train({"--config", config}).exit_code, 0);
  EXPECT_EQ(result_hash(scratch / "gqa/out"), result);

  const std::vector<std::string> other{"--config", config, "--set", "training.learning_rate=0.002"};
  const Outcome refused = lora_train(other);
  EXPECT_EQ(refused.exit_code, 6);
  EXPECT_THAT(refused.err, HasSubstr("--overwrite"));
  EXPECT_EQ(result_hash(scratch / "gqa/out"), result);
  EXPECT_EQ(lora_train(with(other, {"--overwrite"})).exit_code, 0);
  EXPECT_NE(result_hash(scratch / "gqa/out"), result);

  fs::create_directories(scratch / "gqa/foreign");
  write_text(scratch / "gqa/foreign/adapter_config.json", "{}");
  EXPECT_EQ(lora_train({"--config", config, "--set", "output_dir=foreign"}).exit_code, 6);
  EXPECT_EQ(read_text(scratch / "gqa/foreign/adapter_config.json"), "{}");
}

TEST(Train, ResumesAfterASignalBitByBit) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const std::vector<std::string> whole = with({"--config", config, "--set", "output_dir=whole"}, kResumable);
  ASSERT_EQ(lora_train(whole).exit_code, 0);
  const std::vector<std::string> parts = with({"--config", config, "--set", "output_dir=parts"}, kResumable);
  for (const int number : {SIGTERM, SIGINT}) {
    Process process(lora_train_command(parts));
    wait_for_rows(scratch / "tied/parts", number == SIGTERM ? 2 : 9);
    process.signal(number);
    const Outcome stopped = process.wait();
    ASSERT_TRUE(stopped.exit_code == 128 + number || stopped.exit_code == 0) << stopped.exit_code << stopped.err;
  }
  const Outcome finished = lora_train(parts);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(result_hash(scratch / "tied/parts"), result_hash(scratch / "tied/whole"));
  EXPECT_EQ(stable_rows(scratch / "tied/parts"), stable_rows(scratch / "tied/whole"));
}

TEST(Train, ResumesAfterKillsBitByBit) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  ASSERT_EQ(lora_train(with({"--config", config, "--set", "output_dir=whole"}, kResumable)).exit_code, 0);
  for (int trial = 0; trial < 5; ++trial) {
    const std::string out = "killed" + std::to_string(trial);
    const std::vector<std::string> command = with({"--config", config, "--set", "output_dir=" + out}, kResumable);
    {
      Process process(lora_train_command(command));
      wait_for_rows(scratch / ("tied/" + out), 1 + 3 * trial);
      std::this_thread::sleep_for(std::chrono::milliseconds(trial));
      process.signal(SIGKILL);
      process.wait();
    }
    const Outcome finished = lora_train(command);
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_EQ(result_hash(scratch / ("tied/" + out)), result_hash(scratch / "tied/whole")) << trial;
    EXPECT_EQ(stable_rows(scratch / ("tied/" + out)), stable_rows(scratch / "tied/whole")) << trial;
    for (const auto& entry : fs::directory_iterator(scratch / ("tied/" + out))) {
      EXPECT_EQ(entry.path().filename().string().find("tmp"), std::string::npos) << entry.path();
    }
  }
}

TEST(Train, FallsBackToAnOlderCheckpointWhenTheNewestIsDamaged) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  ASSERT_EQ(lora_train(with({"--config", config, "--set", "output_dir=whole"}, kResumable)).exit_code, 0);
  const std::vector<std::string> command = with({"--config", config, "--set", "output_dir=damaged"}, kResumable);
  {
    Process process(lora_train_command(command));
    wait_until([&] { return fs::exists(scratch / "tied/damaged/checkpoint-9/MANIFEST.json"); });
    process.signal(SIGKILL);
    process.wait();
  }
  int64_t newest = 0;
  for (const auto& entry : fs::directory_iterator(scratch / "tied/damaged")) {
    const std::string name = entry.path().filename().string();
    newest = name.starts_with("checkpoint-") ? std::max<int64_t>(newest, std::stoll(name.substr(11))) : newest;
  }
  ASSERT_GT(newest, 3);
  fs::resize_file(scratch / ("tied/damaged/checkpoint-" + std::to_string(newest) + "/optimizer.safetensors"), 100);
  const Outcome finished = lora_train(command);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("optimizer.safetensors"));
  EXPECT_EQ(result_hash(scratch / "tied/damaged"), result_hash(scratch / "tied/whole"));
}

TEST(Train, ResumesFromANamedCheckpointAndAfterMovingTheFolder) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const std::vector<std::string> command = with({"--config", config}, kResumable);
  ASSERT_EQ(lora_train(command).exit_code, 0);
  const fs::path out = scratch / "tied/out";
  const std::string result = result_hash(out);
  ASSERT_EQ(lora_train(with(command, {"--resume", (out / "checkpoint-6").string()})).exit_code, 0);
  EXPECT_EQ(result_hash(out), result);

  // Another run's checkpoint, a damaged one, and a folder that is not a checkpoint.
  EXPECT_EQ(lora_train(with(command, {"--resume", (out / "checkpoint-6").string(), "--set", "training.seed=1"})).exit_code, 2);
  fs::resize_file(out / "checkpoint-9/trainer_state.json", 3);
  EXPECT_EQ(lora_train(with(command, {"--resume", (out / "checkpoint-9").string()})).exit_code, 2);
  EXPECT_EQ(lora_train(with(command, {"--resume", "nowhere"})).exit_code, 2);
  EXPECT_EQ(result_hash(out), result);

  fs::rename(scratch / "tied", scratch / "moved");
  const Outcome moved = lora_train(with({"--config", (scratch / "moved/run.json").string()}, kResumable));
  EXPECT_EQ(moved.exit_code, 0);
  EXPECT_THAT(moved.err, HasSubstr("already finished"));
}

TEST(Train, KeepsTheBestAndTheNewestCheckpoints) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const Outcome outcome =
      lora_train({"--config", config, "--set", "training.eval_steps=2", "--set", "training.save_steps=4", "--set",
                  "training.save_total_limit=2", "--set", "training.load_best_model_at_end=true", "--set", "training.learning_rate=0.05"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const fs::path out = scratch / "tied/out";
  const Json result = Json::parse(read_text(out / "run.json"))["result"];
  double best = 1e9;
  int64_t best_step = 0;
  for (const Json& row : read_rows(out / "metrics.jsonl")) {
    if (row.contains("eval_loss") && row["eval_loss"].get<double>() < best) {
      best = row["eval_loss"].get<double>();
      best_step = row["step"].get<int64_t>();
    }
  }
  EXPECT_EQ(result["best_step"], best_step);
  EXPECT_EQ(result["result_step"], best_step);
  EXPECT_EQ(result_hash(out), result_hash(out / ("checkpoint-" + std::to_string(best_step))));
  EXPECT_TRUE(fs::exists(out / "checkpoint-20"));
}

TEST(Train, ResumesInAnotherFolderWithTheBestCheckpoint) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  // One row that differs from the evaluation rows, so that the evaluation soon gets worse.
  write_text(scratch / "tied/rows.jsonl", "{\"input_ids\": [1, 1, 1, 1, 1, 1, 1, 1]}\n");
  const std::vector<std::string> command{"--config", config,
                                         "--set",    "training.eval_steps=2",
                                         "--set",    "training.save_steps=2",
                                         "--set",    "training.load_best_model_at_end=true",
                                         "--set",    "training.learning_rate=0.05"};
  ASSERT_EQ(lora_train(command).exit_code, 0);
  const fs::path out = scratch / "tied/out";
  const auto best_of = [](const fs::path& folder) { return Json::parse(read_text(folder / "run.json"))["result"]["best_step"]; };
  const int64_t best = best_of(out).get<int64_t>();
  ASSERT_LT(best, 18) << "the test needs a best step before the second to last checkpoint";
  const std::string resumed = (out / "checkpoint-18").string();
  const std::vector<std::string> elsewhere = with(command, {"--set", "output_dir=next", "--resume", resumed});
  const Outcome outcome = lora_train(elsewhere);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(best_of(scratch / "tied/next"), best);
  EXPECT_EQ(result_hash(scratch / "tied/next"), result_hash(out));

  fs::remove_all(scratch / "tied/next");
  fs::remove_all(out / ("checkpoint-" + std::to_string(best)));
  const Outcome without = lora_train(elsewhere);
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_THAT(without.err, HasSubstr("load_best_model_at_end needs the best checkpoint"));
}

TEST(Train, SwappingTrainingAndEvaluationSetsIsAnotherRun) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  write_text(scratch / "gqa/b.jsonl", "{\"input_ids\": [1, 2, 3, 4]}\n");
  write_text(scratch / "gqa/c.jsonl", "{\"input_ids\": [4, 3, 2, 1]}\n");
  const auto on = [&](const char* train, const char* eval) {
    return lora_train({"--config", config, "--set", std::string("data.train.0.path=") + train, "--set",
                       std::string("data.eval=[{\"path\": \"") + eval + "\", \"format\": \"tokens\"}]", "--set", "training.max_steps=1"});
  };
  ASSERT_EQ(on("b.jsonl", "c.jsonl").exit_code, 0);
  EXPECT_EQ(on("b.jsonl", "c.jsonl").exit_code, 0);
  EXPECT_EQ(on("c.jsonl", "b.jsonl").exit_code, 6);
}

TEST(Train, OnlyOneOfTwoRunsGetsAFolder) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  const std::vector<std::string> command = lora_train_command({"--config", config, "--set", "training.max_steps=4000"});
  Process first(command);
  wait_for_rows(scratch / "gqa/out", 1);
  const Outcome second = Process(command).wait();
  EXPECT_EQ(second.exit_code, 6) << second.err;
  first.signal(SIGTERM);
  EXPECT_EQ(first.wait().exit_code, 143);
}

/// The command with a limit on the bytes of data (of malloc and threads).
std::vector<std::string> with_data_limit(int64_t bytes, const std::vector<std::string>& command) {
  std::vector<std::string> limited{"/bin/sh", "-c", "ulimit -d " + std::to_string(bytes / 1024) + " && exec \"$@\"", "sh"};
  limited.insert(limited.end(), command.begin(), command.end());
  return limited;
}

TEST(Train, AChosenBatchSizeIsKeptWhenMemoryChanges) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const std::vector<std::string> automatic =
      with({"--config", config, "--set", "training.per_device_train_batch_size=auto", "--set", "training.max_steps=6"}, kResumable);
  const auto command = [&](const std::string& out) { return lora_train_command(with(automatic, {"--set", "output_dir=" + out})); };
  const auto memory = [&](const std::string& out) { return read_json(scratch / "tied" / out / "run.json", ErrorKind::kOutput)["memory"]; };

  constexpr int64_t kMuch = int64_t{2} << 30;  // less than any test machine has free
  ASSERT_EQ(Process(with_data_limit(kMuch, command("whole"))).wait().exit_code, 0);
  const int64_t found = memory("whole")["per_device_train_batch_size"].get<int64_t>();
  EXPECT_GT(found, 1);
  // What the process already uses. With 160 MB more nothing fits, because nine tenths of that are less than the program needs.
  const int64_t taken = kMuch - memory("whole")["usable_bytes"].get<int64_t>() / 9 * 10;
  const int64_t little = taken + 160'000'000;

  ASSERT_EQ(Process(with_data_limit(kMuch, command("parts"))).wait().exit_code, 0);
  fs::remove(scratch / "tied/parts/adapter_model.safetensors");  // as if the run had been stopped before its end
  fs::remove_all(scratch / "tied/parts/checkpoint-6");
  const Outcome finished = Process(with_data_limit(little, command("parts"))).wait();
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(memory("parts")["per_device_train_batch_size"], found);
  EXPECT_LT(memory("parts")["usable_bytes"].get<int64_t>(), memory("parts")["estimated_bytes"].get<int64_t>());
  EXPECT_EQ(result_hash(scratch / "tied/parts"), result_hash(scratch / "tied/whole"));
  EXPECT_EQ(stable_rows(scratch / "tied/parts"), stable_rows(scratch / "tied/whole"));

  const Outcome small = Process(with_data_limit(little, lora_train_command(with(automatic, {"--dry-run"})))).wait();
  EXPECT_THAT(small.err, HasSubstr("(1 document (auto) x")) << "a new run with this little memory";
}

TEST(Train, ADryRunShowsModulesAndSamplesAndWritesNothing) {
  const TemporaryFolder scratch;
  const Outcome outcome = lora_train({"--config", copy_case("gqa", scratch).string(), "--dry-run"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("model.layers.*.self_attn.v_proj"));
  EXPECT_THAT(outcome.out, HasSubstr("⟦"));
  EXPECT_THAT(outcome.out, HasSubstr("rows.jsonl:3"));
  EXPECT_FALSE(fs::exists(scratch / "gqa/out"));
}

TEST(Train, AFullyFineTunedFolderIsABaseModel) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("full", scratch).string();
  ASSERT_EQ(lora_train({"--config", config}).exit_code, 0);
  const std::string trained = (scratch / "full/out").string();
  const Outcome on_top = lora_train({"--config", config, "--set", "model.path=" + trained, "--set",
                                     R"(adapter={"peft_type": "LORA", "target_modules": "all-linear"})", "--set", "output_dir=lora",
                                     "--set", "training.max_steps=1"});
  EXPECT_EQ(on_top.exit_code, 0) << on_top.err;
  EXPECT_TRUE(fs::exists(scratch / "full/lora/adapter_model.safetensors"));

  // Files that accompany the weights of the previous run are removed before the next one.
  write_text(scratch / "full/out/merges.txt", "stale");
  ASSERT_EQ(lora_train({"--config", config, "--set", "training.seed=7", "--overwrite"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(scratch / "full/out/merges.txt"));
}

}  // namespace
}  // namespace lora::test
