// A GGUF file as the base model, in every program (scripts/golden/gguf_models.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Gguf : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(kData / "quantized/gguf_models/llama.gguf", base_);
    write_text(scratch_ / "rows.jsonl",
               R"({"messages": [{"role": "user", "content": "the river"}, {"role": "assistant", "content": "is wide"}]})"
               "\n"
               R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "green stone"}]})"
               "\n");
    write_text(scratch_ / "run.json",
               R"({"model": {"path": "base.gguf", "device": "cpu"}, "adapter": {"r": 4, "target_modules": "all-linear"},
                   "data": {"train": [{"path": "rows.jsonl", "format": "messages"}], "train_on": "all"}, "output_dir": "out",
                   "training": {"max_steps": 12, "learning_rate": 1e-2, "save_steps": 3, "logging_steps": 1}})");
  }

  std::string path(const std::string& name) const { return (scratch_ / name).string(); }
  Arguments run(const Arguments& more = {}) const { return with({"--config", path("run.json")}, more); }
  Arguments eval(const std::string& model, const Arguments& more) const {
    return with({"lora-eval", "--model", path(model), "--data", path("rows.jsonl"), "--format", "messages", "--train-on", "all", "--dtype",
                 "float32", "--json"},
                more);
  }
  /// The loss of lora-eval.
  double loss(const std::string& model, const Arguments& more) const {
    const Outcome outcome = run_tool(eval(model, more));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("was trained on")));
    return outcome.exit_code == 0 ? Json::parse(outcome.out)["loss"].get<double>() : 0.0;
  }
  /// lora-train is refused with one line.
  void expect_refused(const std::vector<std::string>& parts) const {
    const Outcome refused = lora_train(run({"--dry-run"}));
    EXPECT_EQ(refused.exit_code, 4) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(refused.err, HasSubstr(part));
    }
  }
  /// Replaces bytes of the base.
  void change(const std::string& after, size_t distance, const std::string& bytes) const {
    std::string text = read_text(base_);
    const size_t place = text.find(after);
    ASSERT_NE(place, std::string::npos);
    write_text(base_, text.replace(place + after.size() + distance, bytes.size(), bytes));
  }

  TemporaryFolder scratch_;
  fs::path base_ = scratch_ / "base.gguf";
};

TEST_F(Gguf, TrainsAndResumesBitByBit) {
  const Outcome trained = lora_train(run());
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, AllOf(HasSubstr("Q4_K"), HasSubstr("1 packed weight decoded to plain numbers: "), HasSubstr(" in bfloat16")));
  const std::vector<Json> rows = read_rows(scratch_ / "out/metrics.jsonl");
  EXPECT_LT(rows[11]["loss"].get<double>(), 0.8 * rows[0]["loss"].get<double>());

  Outcome killed;
  const fs::path folder = scratch_ / "killed";
  for (int trial = 0; trial < 20 && killed.exit_code <= 0; ++trial) {  // it may finish before it is killed
    fs::remove_all(folder);
    Process process(lora_train_command(run({"--set", "output_dir=killed"})));
    for (int i = 0; i < 12000 && !fs::exists(folder / "checkpoint-3/MANIFEST.json"); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGKILL);
    killed = process.wait();
  }
  const Outcome finished = lora_train(run({"--set", "output_dir=killed"}));
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("Resuming from "));
  EXPECT_EQ(result_hash(folder), result_hash(scratch_ / "out"));
}

TEST_F(Gguf, AnAdapterOnItIsUsedByEveryProgram) {
  ASSERT_EQ(lora_train(run()).exit_code, 0);
  const double bare = loss("base.gguf", {}), adapted = loss("base.gguf", {"--adapter", path("out")});
  EXPECT_LT(adapted, 0.9 * bare);

  const Outcome merged =
      run_tool({"lora-merge", "--model", path("base.gguf"), "--adapter", path("out"), "--output", path("merged"), "--dtype", "float32"});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_NEAR(loss("merged", {}), adapted, 1e-4 * adapted);

  const Outcome converted = run_tool({"lora-convert", "--adapter", path("out"), "--to", "gguf", "--model", path("base.gguf"), "--output",
                                      path("adapter.gguf")});
  ASSERT_EQ(converted.exit_code, 0) << converted.err;
  EXPECT_THAT(read_text(scratch_ / "adapter.gguf"), AllOf(testing::StartsWith("GGUF"), HasSubstr("blk.0.attn_q.weight.lora_b")));

  const Outcome answered = run_tool({"lora-generate", "--model", path("base.gguf"), "--adapter", path("out"), "--message", "the river",
                                     "--max-new-tokens", "8", "--quiet"});
  EXPECT_EQ(answered.exit_code, 0) << answered.err;
  EXPECT_GT(answered.out.size(), 1U);
}

TEST_F(Gguf, IsInspected) {
  const Outcome shown = run_tool({"lora-inspect", path("base.gguf")});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, AllOf(HasSubstr("llama"), HasSubstr("Q4_K"), HasSubstr("IQ4_XS"), HasSubstr("self_attn.q_proj")));
  const Outcome refused = run_tool({"lora-inspect", path("base.gguf"), "--diff", path("base.gguf")});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("is not an adapter: found a GGUF file, which can only be written"));
}

TEST_F(Gguf, HasATokenizer) {
  const Json golden = Json::parse(read_text(kData / "quantized/gguf_models/llama.expected.json"));
  std::string rows;
  for (const Json& text : golden["texts"]) {
    rows += Json{{"text", text}}.dump() + "\n";
  }
  write_text(scratch_ / "texts.jsonl", rows);
  const Outcome written = run_tool({"lora-tokenize", "--model", path("base.gguf"), "--input", path("texts.jsonl"), "--output",
                                    path("ids.jsonl"), "--no-parse-special-tokens"});
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const std::vector<Json> found = read_rows(scratch_ / "ids.jsonl");
  ASSERT_EQ(found.size(), golden["ids"].size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i]["input_ids"], golden["ids"][i]) << golden["texts"][i];
  }
}

TEST_F(Gguf, ATruncatedFileIsRefused) {
  const std::string whole = read_text(base_);
  write_text(base_, whole.substr(0, whole.size() - 1000));
  expect_refused({"base.gguf", "lies outside the file"});
  write_text(base_, whole.substr(0, 300));
  expect_refused({"base.gguf", "metadata keys, more than fit in its 300 bytes"});
}

TEST_F(Gguf, UnknownContentIsRefusedByName) {
  const std::string whole = read_text(base_);
  change("general.architecture", 12, "mamba");
  expect_refused({"base.gguf", "general.architecture", "found 'mamba', expected one of llama, qwen2"});
  write_text(base_, whole);
  constexpr size_t kToType = 4 + 2 * 8;  // the number of dimensions and two of them
  change("blk.0.attn_q.weight", kToType, std::string("\x10\0\0\0", 4));
  expect_refused({"tensor 'blk.0.attn_q.weight'", "found the ggml type IQ2_XXS, expected F32"});
  write_text(base_, whole);
  change("blk.0.attn_q.weight", kToType, std::string("\x4d\0\0\0", 4));
  expect_refused({"'blk.0.attn_q.weight'", "found the ggml type 77, which is not known"});
}

TEST_F(Gguf, RowsOfTextNeedATokenizer) {
  fs::copy(kData / "quantized/gguf_architectures/llama.gguf", base_, fs::copy_options::overwrite_existing);  // without one
  expect_refused({"base.gguf", "no tokenizer"});
}

}  // namespace
}  // namespace lora::test
