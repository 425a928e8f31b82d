// lora-eval: equal to transformers + PEFT, with and without adapters, and its errors for invalid input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "process.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Eval : public testing::Test {
 protected:
  void SetUp() override { use("gqa"); }
  void use(const std::string& name) {
    folder_ = scratch_ / name;
    if (!fs::exists(folder_)) {
      copy_case(name, scratch_);
    }
  }
  Outcome eval(const std::vector<std::string>& more) const {
    std::vector<std::string> command{"lora-eval", "--model", (folder_ / "model").string(), "--device", "cpu"};
    command.insert(command.end(), more.begin(), more.end());
    return run_tool(command);
  }
  std::vector<std::string> rows(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--data", (folder_ / "eval.jsonl").string(), "--format", "tokens"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::string adapter() const { return (folder_ / "adapter").string(); }

  TemporaryFolder scratch_;
  fs::path folder_;
};

double mean_loss(const Json& documents) {
  double sum = 0;
  double tokens = 0;
  for (const Json& document : documents) {
    sum += document["loss"].get<double>() * document["num_tokens"].get<double>();
    tokens += document["num_tokens"].get<double>();
  }
  return sum / tokens;
}

TEST_F(Eval, EqualsTransformersAndPeftTokenByToken) {
  for (const char* name : {"gqa", "tied", "dynamic"}) {
    use(name);
    const Outcome outcome =
        eval(rows({"--adapter", adapter(), "--dtype", "float32", "--json", "--token-logprobs", (scratch_ / "out.jsonl").string()}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<Json> found = read_rows(scratch_ / "out.jsonl");
    const std::vector<Json> expected = read_rows(folder_ / "token_logprobs.jsonl");
    ASSERT_EQ(found.size(), expected.size());
    int64_t correct = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i]["index"], i);
      EXPECT_EQ(found[i]["input_ids"], expected[i]["input_ids"]);
      ASSERT_EQ(found[i]["logprobs"].size(), expected[i]["logprobs"].size());
      EXPECT_TRUE(found[i]["logprobs"][0].is_null());
      for (size_t t = 1; t < found[i]["logprobs"].size(); ++t) {
        const double needed = expected[i]["logprobs"][t].get<double>();
        EXPECT_NEAR(found[i]["logprobs"][t].get<double>(), needed, 1e-5 * std::max(1.0, std::abs(needed))) << name << i << " " << t;
      }
      EXPECT_NEAR(found[i]["loss"].get<double>(), expected[i]["loss"].get<double>(), 1e-5);
      correct += expected[i]["correct"].get<int64_t>();
    }
    const Json result = Json::parse(outcome.out);
    EXPECT_NEAR(result["token_accuracy"].get<double>() * result["num_tokens"].get<double>(), static_cast<double>(correct), 1e-9);
    const Json documents = Json::parse(read_text(folder_ / "expected.json"))["start_documents"];
    EXPECT_NEAR(result["loss"].get<double>(), mean_loss(documents), 1e-5);
    EXPECT_NEAR(result["perplexity"].get<double>(), std::exp(mean_loss(documents)), 1e-2);
    // The same without log-probabilities, so that only supervised positions reach the head, and in other batches.
    const Json again = Json::parse(eval(rows({"--adapter", adapter(), "--json", "--dtype", "float32", "--batch-size", "1"})).out);
    EXPECT_NEAR(again["loss"].get<double>(), result["loss"].get<double>(), 1e-6);
    EXPECT_EQ(again["num_tokens"], result["num_tokens"]);
  }
}

TEST_F(Eval, ComparesAdaptersWithTheBaseModel) {
  const Json expected = Json::parse(read_text(folder_ / "expected.json"));
  const Outcome outcome = eval(rows({"--adapter", "one=" + adapter(), "--adapter", "two=" + adapter(), "--compare-base", "--json"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json results = Json::parse(outcome.out)["results"];
  ASSERT_EQ(results.size(), 3u);
  EXPECT_TRUE(results[0]["adapter"].is_null());
  EXPECT_NEAR(results[0]["loss"].get<double>(), mean_loss(expected["base_documents"]), 1e-5);
  EXPECT_EQ(results[1]["adapter"], "one");
  EXPECT_EQ(results[1]["loss"], results[2]["loss"]);  // each by itself, not both at once
  EXPECT_NEAR(results[1]["loss"].get<double>(), mean_loss(expected["start_documents"]), 1e-5);
  const Outcome table = eval(rows({"--adapter", adapter(), "--compare-base"}));
  EXPECT_THAT(table.out, testing::AllOf(HasSubstr("(none)"), HasSubstr("default"), HasSubstr("perplexity")));
}

TEST_F(Eval, LogprobsKeepEveryRowCompleteAndInOrder) {
  std::string text = "{\"input_ids\": [5], \"labels\": [5]}\n{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n{\"input_ids\": [";
  for (int i = 0; i < 1500; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(i % 90);
  }
  write_text(scratch_ / "odd.jsonl", text + "]}\n");
  const std::string out = (scratch_ / "out.jsonl").string();
  const Outcome outcome = eval({"--data", (scratch_ / "odd.jsonl").string(), "--format", "tokens", "--token-logprobs", out});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<Json> found = read_rows(out);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0]["logprobs"].size(), 1u);
  EXPECT_TRUE(found[0]["loss"].is_null() && found[1]["loss"].is_null());
  EXPECT_EQ(found[1]["logprobs"].size(), 3u);
  EXPECT_TRUE(found[1]["logprobs"][2].is_number());  // not supervised, but scored
  EXPECT_EQ(found[2]["logprobs"].size(), 1500u);
}

TEST_F(Eval, RefusesInvalidInput) {
  const auto expect = [&](int exit_code, const std::vector<std::string>& arguments, const std::string& part) {
    const Outcome outcome = eval(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_EQ(outcome.out, "");
  };
  expect(2, {}, "--data");
  expect(2, rows({"--format", "token"}), "--format");
  expect(2, {"--data", "x.jsonl", "--format", "toknes"}, "did you mean 'tokens'");
  expect(2, rows({"--dtype", "float8"}), "float8");
  expect(2, rows({"--batch-size", "0"}), "--batch-size");
  expect(2, rows({"--adapter", adapter(), "--adapter", adapter()}), "a different name for each adapter");
  expect(2, rows({"--adapter", "a=" + adapter(), "--adapter", "b=" + adapter(), "--token-logprobs", "x"}), "--token-logprobs");
  expect(3, {"--data", (scratch_ / "none.jsonl").string(), "--format", "tokens"}, "none.jsonl");
  write_text(scratch_ / "bad.jsonl", "{\"input_ids\": [1, 2]}\n{\"input_ids\": [1, 999]}\n");
  expect(3, {"--data", (scratch_ / "bad.jsonl").string(), "--format", "tokens"}, "bad.jsonl:2");
  write_text(scratch_ / "text.jsonl", "{\"text\": \"a\"}\n");
  expect(4, {"--data", (scratch_ / "text.jsonl").string(), "--format", "text"}, "tokenizer.model");
  expect(4, rows({"--adapter", (scratch_ / "nowhere").string()}), "nowhere");
  expect(6, rows({"--token-logprobs", "/dev/null/x.jsonl"}), "[/dev/null] cannot be created as a folder");
  // An adapter of another model: the error names every key that does not fit.
  use("odd");
  const std::string other = adapter();
  use("gqa");
  expect(4, rows({"--adapter", other}), "adapter_model.safetensors");
  fs::resize_file(folder_ / "adapter/adapter_model.safetensors", 100);
  expect(4, rows({"--adapter", adapter()}), "adapter_model.safetensors");
  write_text(folder_ / "adapter/adapter_config.json", R"({"peft_type": "POLY"})");
  expect(4, rows({"--adapter", adapter()}), "POLY");
}

}  // namespace
}  // namespace lora::test
