// lora-eval --predictions: predictions of classifiers and regressions for rows that need no label (scripts/golden/predictions.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A file with the rows without this field.
fs::path rows_without(const fs::path& rows, const std::string& field, const TemporaryFolder& scratch, size_t keep_first = 0) {
  std::string text;
  for (Json row : read_rows(rows)) {
    if (keep_first == 0) {
      row.erase(field);
    } else {
      --keep_first;
    }
    text += row.dump() + "\n";
  }
  return scratch.write("unlabelled.jsonl", text);
}

void expect_near_prediction(const Json& found, const Json& expected, const std::string& where) {
  const auto near = [&](const Json& a, const Json& b) { EXPECT_NEAR(a.get<double>(), b.get<double>(), 2e-5) << where; };
  if (expected.contains("prediction") && expected["prediction"].is_array()) {
    ASSERT_EQ(found["prediction"].size(), expected["prediction"].size()) << where;
    for (size_t k = 0; k < found["prediction"].size(); ++k) {
      near(found["prediction"][k], expected["prediction"][k]);
    }
  } else if (expected.contains("prediction")) {
    near(found["prediction"], expected["prediction"]);
  } else {
    // PEFT's adapters name no labels: they are numbered.
    ASSERT_EQ(found["probabilities"].size(), expected["probabilities"].size()) << where;
    auto of_reference = expected["probabilities"].items().begin();
    for (const auto& [name, share] : found["probabilities"].items()) {
      near(share, of_reference.value());
      EXPECT_EQ(name == found["label"], of_reference.key() == expected["label"]) << where;
      ++of_reference;
    }
  }
}

void expect_predictions(const fs::path& file, const Json& expected, const std::string& where) {
  const std::vector<Json> found = read_rows(file);
  ASSERT_EQ(found.size(), expected.size()) << where;
  for (size_t i = 0; i < found.size(); ++i) {
    expect_near_prediction(found[i], expected[i], where + " row " + std::to_string(i));
  }
}

TEST(Predictions, EqualTheReferencesForRowsWithoutALabel) {
  const TemporaryFolder scratch;
  const Json expected = read_json(kData / "classification/predictions.json", ErrorKind::kData);
  const std::string out = (scratch / "out.jsonl").string();
  for (const auto& [name, rows] : expected["cases"].items()) {
    const fs::path folder = kData / "classification" / name;
    const Outcome outcome =
        run_tool({"lora-eval", "--model", (folder / "model").string(), "--adapter", (folder / "adapter").string(), "--data",
                  rows_without(folder / "eval.jsonl", "label", scratch).string(), "--format", "classification", "--predictions", out,
                  "--dtype", "float32", "--device", "cpu", "--batch-size", "3", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    expect_predictions(out, rows, name);
    const Json summary = Json::parse(outcome.out);
    EXPECT_EQ(summary["num_predictions"], rows.size());
    EXPECT_FALSE(summary.contains("loss")) << "no row has a label";
  }
  for (const auto& [name, rows] : expected["modules"].items()) {
    const bool is_classifier = rows[0].contains("label");
    const std::string data = is_classifier ? "images" : name == "perceptron" ? "features" : "pairs";
    const Outcome outcome = run_tool(
        {"lora-eval", "--model", (kData / "torchscript/modules" / (name + ".pt")).string(), "--trust-torchscript", "--data",
         rows_without(kData / "torchscript/row_runs" / (data + "_eval.jsonl"), "target", scratch).string(), "--format", "features",
         "--objective", is_classifier ? "sequence_classification" : "regression", "--predictions", out, "--device", "cpu", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    expect_predictions(out, rows, name);
    EXPECT_FALSE(Json::parse(outcome.out).contains("num_input_tokens")) << "rows of features have no tokens";
  }
}

TEST(Predictions, NameTheLabelsOfTheRunAndDoNotChangeTheMetrics) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("qwen2_names", scratch).string();
  ASSERT_EQ(lora_train({"--config", config}).exit_code, 0);
  const fs::path folder = scratch / "qwen2_names";
  const auto eval = [&](const fs::path& rows, const std::vector<std::string>& more) {
    std::vector<std::string> command{"lora-eval",
                                     "--model",
                                     (folder / "model").string(),
                                     "--adapter",
                                     (folder / "out").string(),
                                     "--data",
                                     rows.string(),
                                     "--format",
                                     "classification",
                                     "--dtype",
                                     "float32",
                                     "--json"};
    command.insert(command.end(), more.begin(), more.end());
    return run_tool(command);
  };
  const std::string out = (scratch / "out.jsonl").string();
  const Json plain = Json::parse(eval(folder / "eval.jsonl", {}).out);
  Json with_predictions = Json::parse(eval(folder / "eval.jsonl", {"--predictions", out}).out);
  EXPECT_EQ(with_predictions["num_predictions"], 7);
  with_predictions.erase("num_predictions");
  EXPECT_EQ(with_predictions, plain);
  const std::vector<Json> rows = read_rows(folder / "eval.jsonl"), found = read_rows(out);
  double right = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    right += found.at(i)["label"] == rows[i]["label"] ? 1 : 0;
    EXPECT_NEAR(found[i]["probabilities"]["no"].get<double>() + found[i]["probabilities"]["entailed"].get<double>(), 1.0, 1e-9);
  }
  EXPECT_EQ(right / static_cast<double>(rows.size()), plain["accuracy"].get<double>());

  const Json mixed = Json::parse(eval(rows_without(folder / "eval.jsonl", "label", scratch, /*keep_first=*/3), {"--predictions", out}).out);
  EXPECT_EQ(mixed["num_examples"], 3) << "the rows that have a label";
  EXPECT_EQ(read_rows(out).size(), 7U);

  const Outcome without = eval(rows_without(folder / "eval.jsonl", "label", scratch), {});
  EXPECT_EQ(without.exit_code, 3);
  EXPECT_THAT(without.err, HasSubstr("label"));
  EXPECT_EQ(eval(scratch.write("bad.jsonl", "{\"input_ids\": [1, 2], \"label\": \"maybe\"}\n"), {"--predictions", out}).exit_code, 3);
  const Outcome several = eval(folder / "eval.jsonl", {"--predictions", out, "--adapter", "b=" + (folder / "out").string()});
  EXPECT_EQ(several.exit_code, 2);
  EXPECT_THAT(several.err, HasSubstr("--predictions"));
}

TEST(Predictions, NeedAModelThatLabelsRows) {
  const TemporaryFolder scratch;
  const std::string out = (scratch / "out.jsonl").string();
  const fs::path gqa = kData / "llama/gqa";
  const Outcome tokens = run_tool({"lora-eval", "--model", (gqa / "model").string(), "--data", (gqa / "rows.jsonl").string(), "--format",
                                   "tokens", "--predictions", out});
  EXPECT_EQ(tokens.exit_code, 2);
  EXPECT_THAT(tokens.err, HasSubstr("[--predictions]"));
  const fs::path rows = kData / "torchscript/row_runs";
  const Outcome loss =
      run_tool({"lora-eval", "--model", (kData / "torchscript/modules/perceptron_loss.pt").string(), "--trust-torchscript", "--data",
                (rows / "features_eval.jsonl").string(), "--format", "features", "--objective", "module_loss", "--predictions", out});
  EXPECT_EQ(loss.exit_code, 2);
  EXPECT_THAT(loss.err, HasSubstr("[--predictions]"));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace lora::test
