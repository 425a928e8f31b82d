#include "lora/checkpoint/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/base/random.h"

namespace lora::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Checkpoint : public testing::Test {
 protected:
  void SetUp() override {
    output_dir_ = fs::path(testing::TempDir()) / ("checkpoint." + std::to_string(::getpid()));
    fs::remove_all(output_dir_);
    fs::create_directories(output_dir_);
  }
  void TearDown() override { fs::remove_all(output_dir_); }

  /// A checkpoint in which every file tells which checkpoint it belongs to.
  void save_step(int64_t step, const std::string& mark = "") const {
    TrainerState state;
    state.step = step;
    state.run_id = "run" + mark;
    save(output_dir_, state, {{"w.exp_avg", at::full({8}, static_cast<double>(step), at::kFloat)}}, [&](const fs::path& folder) {
      write_file_atomically(folder / "adapter_model.safetensors", "adapter of step " + std::to_string(step) + mark);
      write_file_atomically(folder / "adapter_config.json", "{}\n");
    });
  }
  fs::path at_step(int64_t step) const { return folder(output_dir_, step); }

  fs::path output_dir_;
};

void put(const fs::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
}

TEST_F(Checkpoint, RoundTripsTheState) {
  TrainerState state;
  state.step = 1234567890123;
  state.epoch = 1.0 / 3.0;
  state.best_metric = 2.1000000000000005;
  state.best_step = 40;
  state.evaluations_without_gain = 2;
  state.loss_scale = 65536;
  state.loss_scale_growth = 17;
  state.supervised_since_log = 11;
  state.input_since_log = 13;
  state.evaluated_step = 40;
  state.last_eval_loss = 2.2000000000000006;
  state.evaluation_due = true;
  state.run_id = "abc";
  save(output_dir_, state, {{"w.step", at::full({}, 3.0, at::kFloat)}}, [](const fs::path&) {});
  const std::optional<fs::path> found = newest_valid(output_dir_);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, output_dir_ / "checkpoint-1234567890123");
  const TrainerState loaded = load_state(*found);
  EXPECT_EQ(loaded.step, state.step);
  EXPECT_EQ(loaded.epoch, state.epoch);
  EXPECT_EQ(loaded.best_metric, state.best_metric);
  EXPECT_EQ(loaded.best_step, state.best_step);
  EXPECT_EQ(loaded.evaluations_without_gain, 2);
  EXPECT_EQ(loaded.loss_scale, 65536);
  EXPECT_EQ(loaded.loss_scale_growth, 17);
  EXPECT_EQ(loaded.supervised_since_log, 11);
  EXPECT_EQ(loaded.input_since_log, 13);
  EXPECT_EQ(loaded.evaluated_step, state.evaluated_step);
  EXPECT_EQ(loaded.last_eval_loss, state.last_eval_loss);
  EXPECT_TRUE(loaded.evaluation_due);
  EXPECT_EQ(loaded.run_id, "abc");
  EXPECT_EQ(io::SafetensorsFile(*found / "optimizer.safetensors").tensor("w.step").item<double>(), 3.0);
}

TEST_F(Checkpoint, WritesTheManifestOfTheContract) {
  save_step(5);
  const Json manifest = read_json(at_step(5) / "MANIFEST.json", ErrorKind::kModel);
  EXPECT_EQ(manifest.at("format"), 1);
  EXPECT_EQ(manifest.at("files").size(), 4);
  const Json& entry = manifest.at("files").at("adapter_model.safetensors");
  EXPECT_EQ(entry.at("size"), 17);
  EXPECT_EQ(entry.at("sha256"), sha256("adapter of step 5"));
  EXPECT_FALSE(load_state(at_step(5)).best_metric);
  EXPECT_FALSE(load_state(at_step(5)).best_step);
  EXPECT_FALSE(load_state(at_step(5)).evaluation_due);
}

TEST_F(Checkpoint, ReplacesOneOfTheSameStep) {
  save_step(5, " first");
  save_step(5, " second");
  EXPECT_EQ(fault(at_step(5)), "");
  EXPECT_EQ(load_state(at_step(5)).run_id, "run second");
  EXPECT_THAT(steps(output_dir_), ElementsAre(5));
}

TEST_F(Checkpoint, LeavesNothingWhereSavingFails) {
  save_step(5, " first");
  const auto fails = [](const fs::path& folder) {
    write_file_atomically(folder / "half", "x");
    output_error("here", "no space");
  };
  TrainerState state;
  for (const int64_t step : {5, 6}) {
    state.step = step;
    EXPECT_THROW(save(output_dir_, state, {}, fails), Error);
  }
  EXPECT_THAT(steps(output_dir_), ElementsAre(5));
  EXPECT_EQ(load_state(at_step(5)).run_id, "run first");
  EXPECT_EQ(fault(at_step(5)), "");
}

TEST_F(Checkpoint, KnowsItsOwnFoldersAlone) {
  for (const char* name : {"checkpoint-abc", "checkpoint-", "checkpoint-007", "checkpoint--3", "checkpoint-5.tmp", "xcheckpoint-5",
                           "checkpoint-99999999999999999999", "checkpoint-12"}) {
    fs::create_directories(output_dir_ / name);
  }
  put(output_dir_ / "checkpoint-13", "a file");
  EXPECT_THAT(steps(output_dir_), ElementsAre(12));
  EXPECT_EQ(newest_valid(output_dir_), std::nullopt);
  EXPECT_TRUE(steps(output_dir_ / "missing").empty());
  EXPECT_EQ(newest_valid(output_dir_ / "missing"), std::nullopt);
}

TEST_F(Checkpoint, NoticesEveryChangedByteAndEveryTruncation) {
  save_step(5);
  const fs::path checkpoint = at_step(5);
  ASSERT_EQ(fault(checkpoint), "");
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint)) {
    const std::string content = read_file(entry.path(), ErrorKind::kModel);
    for (size_t position = 0; position < content.size(); position += 1 + content.size() / 97) {
      std::string changed = content;
      changed[position] = static_cast<char>(changed[position] ^ (1 << (position % 8)));
      put(entry.path(), changed);
      EXPECT_NE(fault(checkpoint), "") << entry.path() << " bit flipped at " << position;
      put(entry.path(), content.substr(0, position));
      EXPECT_NE(fault(checkpoint), "") << entry.path() << " cut to " << position;
    }
    put(entry.path(), content + "x");
    EXPECT_NE(fault(checkpoint), "") << entry.path() << " with an extra byte";
    fs::remove(entry.path());
    EXPECT_THAT(fault(checkpoint), HasSubstr(entry.path().filename().string() + " is missing"));
    put(entry.path(), content);
    ASSERT_EQ(fault(checkpoint), "");
  }
}

TEST_F(Checkpoint, RefusesManifestsThatAreNone) {
  save_step(5);
  const fs::path file = at_step(5) / "MANIFEST.json";
  const Json good = read_json(file, ErrorKind::kModel);
  const auto fault_of = [&](const Json& manifest) {
    put(file, manifest.dump());
    return fault(at_step(5));
  };
  Json changed = good;
  changed["format"] = 2;
  EXPECT_THAT(fault_of(changed), HasSubstr("format 2"));
  changed = good;
  changed["files"] = Json::array();
  EXPECT_THAT(fault_of(changed), HasSubstr("files"));
  changed["files"] = Json::object();
  EXPECT_THAT(fault_of(changed), HasSubstr("does not list trainer_state.json"));
  for (const char* name : {"../metrics.jsonl", "/etc/hostname", "sub/../../x"}) {
    changed = good;
    changed["files"][name] = good["files"]["adapter_config.json"];
    EXPECT_THAT(fault_of(changed), HasSubstr("outside of the folder")) << name;
  }
  changed = good;
  changed["files"]["adapter_config.json"] = 3;
  EXPECT_NE(fault_of(changed), "");
  EXPECT_THAT(fault(output_dir_ / "checkpoint-77"), HasSubstr("MANIFEST.json is missing"));
  EXPECT_EQ(fault_of(good), "");
}

TEST_F(Checkpoint, FallsBackToAnOlderOneAndSaysWhy) {
  save_step(5);
  save_step(10);
  save_step(20);
  put(at_step(20) / "adapter_model.safetensors", "adapter of step 21");
  fs::remove(at_step(10) / "MANIFEST.json");
  testing::internal::CaptureStderr();
  EXPECT_EQ(newest_valid(output_dir_), at_step(5));
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_THAT(shown, AllOf(HasSubstr("checkpoint-20]"), HasSubstr("adapter_model.safetensors"), HasSubstr("checkpoint-10]"),
                           HasSubstr("MANIFEST.json is missing")));
}

TEST_F(Checkpoint, RefusesAStateOfAnotherForm) {
  save_step(5);
  const fs::path file = at_step(5) / "trainer_state.json";
  const Json good = read_json(file, ErrorKind::kModel);
  const auto expect_error = [&](const std::string& content, const std::string& fragment) {
    put(file, content);
    try {
      load_state(at_step(5));
      FAIL() << "no error about " << fragment;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kModel);
      EXPECT_THAT(error.what(), HasSubstr(fragment));
    }
  };
  expect_error("{", "trainer_state.json");
  expect_error("[]", "trainer_state.json");
  for (const char* key : {"step", "epoch", "run_id", "loss_scale", "evaluations_without_gain"}) {
    Json changed = good;
    changed.erase(key);
    expect_error(changed.dump(), key);
    changed[key] = Json::array();
    expect_error(changed.dump(), key);
  }
  Json changed = good;
  changed["step"] = -1;
  expect_error(changed.dump(), "step");
  EXPECT_THROW(load_state(output_dir_ / "checkpoint-77"), Error);
}

TEST_F(Checkpoint, PrunesTheOldestButNeverBestOrNewest) {
  const auto left = [&](int64_t limit, std::optional<int64_t> keep_step) {
    for (const int64_t step : {5, 10, 20, 100}) {
      fs::create_directories(at_step(step) / "sub");
    }
    prune(output_dir_, limit, keep_step);
    return steps(output_dir_);
  };
  EXPECT_THAT(left(4, std::nullopt), ElementsAre(5, 10, 20, 100));
  EXPECT_THAT(left(3, std::nullopt), ElementsAre(10, 20, 100));
  EXPECT_THAT(left(2, std::nullopt), ElementsAre(20, 100));
  EXPECT_THAT(left(2, 5), ElementsAre(5, 100));
  EXPECT_THAT(left(1, 10), ElementsAre(10, 100));
  EXPECT_THAT(left(1, 100), ElementsAre(100));
  EXPECT_THAT(left(2, 77), ElementsAre(20, 100));
  EXPECT_THAT(left(0, std::nullopt), ElementsAre(5, 10, 20, 100));
}

void expect_consistent(const fs::path& checkpoint) {
  const TrainerState state = load_state(checkpoint);
  EXPECT_EQ(checkpoint.filename(), "checkpoint-" + std::to_string(state.step));
  const std::string adapter = read_file(checkpoint / "adapter_model.safetensors", ErrorKind::kModel);
  EXPECT_EQ(adapter, "adapter of step " + std::to_string(state.step) + state.run_id.substr(3));
  const at::Tensor moment = io::SafetensorsFile(checkpoint / "optimizer.safetensors").tensor("w.exp_avg");
  EXPECT_TRUE(at::equal(moment, at::full({8}, static_cast<double>(state.step), at::kFloat)));
}

/// Reads `count` bytes. The child sends one after each save.
void wait_for_saves(int descriptor, uint64_t count) {
  char byte = 0;
  for (uint64_t i = 0; i < count; ++i) {
    ASSERT_EQ(::read(descriptor, &byte, 1), 1);
  }
}

TEST_F(Checkpoint, SurvivesKillAtAnyMoment) {
  const auto begin = std::chrono::steady_clock::now();
  save_step(1);
  const auto one_save = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  CounterRandom random(hash_name("kill"));
  std::array<int, 2> saved{};
  ASSERT_EQ(::pipe(saved.data()), 0);
  for (int round = 0; round < 30; ++round) {
    const int64_t first = steps(output_dir_).back();
    const pid_t child = ::fork();
    if (child == 0) {
      for (int64_t turn = 0; ::write(saved[1], "", turn > 0 ? 1 : 0) >= 0; ++turn) {
        save_step(first + (turn + 1) / 2, " turn " + std::to_string(turn));  // every second save replaces the previous one
        prune(output_dir_, 3, std::nullopt);
      }
      ::_exit(1);
    }
    ASSERT_GT(child, 0);
    wait_for_saves(saved[0], random.below(3));
    ::usleep(static_cast<useconds_t>(random.below(static_cast<uint64_t>(2 * one_save.count()))));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child exited by itself";
    if (round % 2 == 1) {
      remove_leftovers(output_dir_);  // as a resuming run does
    }
    const std::optional<fs::path> found = newest_valid(output_dir_);
    ASSERT_TRUE(found) << "round " << round;
    expect_consistent(*found);
    EXPECT_LE(steps(output_dir_).back(), load_state(*found).step) << "the newest folder is not a complete checkpoint";
  }
  EXPECT_GT(steps(output_dir_).back(), 5);
}

}  // namespace
}  // namespace lora::checkpoint
