// Sequence classification in the programs: labels, metrics, saving and loading the head, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lora/base/file.h"
#include "process.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Json last_evaluation(const fs::path& folder) {
  Json last;
  for (const Json& row : read_rows(folder / "metrics.jsonl")) {
    last = row.contains("eval_loss") ? row : last;
  }
  return last;
}

/// A golden case of tests/data/classification, trained.
struct TrainedCase {
  TemporaryFolder scratch;
  std::string name;
  fs::path config;
  Outcome outcome;

  explicit TrainedCase(std::string name, const std::vector<std::string>& more = {}) : name(std::move(name)) {
    config = copy_case(this->name, scratch);
    outcome = lora_train(with({"--config", config.string()}, more));
  }
  fs::path folder() const { return scratch / name; }
  fs::path out() const { return folder() / "out"; }
  Json eval(const std::vector<std::string>& model) const {
    const Outcome found =
        run_tool(with(with({"lora-eval", "--data", (folder() / "eval.jsonl").string(), "--format", "classification", "--json"}, model),
                      {"--dtype", "float32"}));
    EXPECT_EQ(found.exit_code, 0) << found.err;
    return found.exit_code == 0 ? Json::parse(found.out) : Json();
  }
};

/// A run with a new adapter, and a new head because the base model has none.
std::vector<std::string> from_nothing() {
  return {"--set", "adapter.init_from=null", "--set", "adapter.target_modules=[\"q_proj\",\"v_proj\"]"};
}

TEST(Classification, EqualsTheReferencesMetricsAndPeftsFiles) {
  const TrainedCase run("llama_classes");
  ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
  const Json expected = Json::parse(read_text(run.folder() / "expected.json"));
  const Json last = last_evaluation(run.out());
  for (const auto& [key, value] : expected["eval"].back().items()) {
    EXPECT_NEAR(last[key].get<double>(), value.get<double>(), 1e-5 * std::abs(value.get<double>())) << key;
  }
  EXPECT_EQ(last["eval_num_examples"], 7);
  EXPECT_FALSE(last.contains("eval_perplexity") || last.contains("eval_num_tokens"));
  const Json config = Json::parse(read_text(run.out() / "adapter_config.json"));
  EXPECT_EQ(config["task_type"], "SEQ_CLS");
  EXPECT_EQ(config["modules_to_save"], (Json{"classifier", "score"}));
  const Json run_file = Json::parse(read_text(run.out() / "run.json"));
  EXPECT_EQ(run_file["result"]["labels"], (Json{"LABEL_0", "LABEL_1", "LABEL_2"}));
  const Json facts = Json::parse(run_tool({"lora-inspect", run.out().string(), "--json"}).out);
  EXPECT_THAT(facts.dump(), HasSubstr("score.weight"));
}

TEST(Classification, LoraEvalGivesTheMetricsOfTheRun) {
  const TrainedCase run("qwen2_names");
  ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
  const Json last = last_evaluation(run.out());
  const Json found = run.eval({"--model", (run.folder() / "model").string(), "--adapter", run.out().string()});
  EXPECT_NEAR(found["loss"].get<double>(), last["eval_loss"].get<double>(), 1e-6);
  for (const char* name : {"accuracy", "f1", "matthews_correlation"}) {
    EXPECT_EQ(found[name], last[std::string("eval_") + name]) << name;
  }
  EXPECT_EQ(found["num_examples"], 7);
  const Outcome generated =
      run_tool({"lora-generate", "--model", (run.folder() / "model").string(), "--adapter", run.out().string(), "--prompt", "a"});
  EXPECT_EQ(generated.exit_code, 2);
  EXPECT_THAT(generated.err, AllOf(HasSubstr("SEQ_CLS"), HasSubstr("lora-eval")));
}

TEST(Classification, MergingWritesAClassifier) {
  for (const char* name : {"bert_pairs", "qwen2_names", "gpt2_values", "bert_values", "modernbert_mean"}) {
    const TrainedCase run(name);
    ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
    const fs::path merged = run.scratch / "merged";
    const Outcome outcome = run_tool({"lora-merge", "--model", (run.folder() / "model").string(), "--adapter", run.out().string(),
                                      "--output", merged.string(), "--dtype", "float32", "--verify"});
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    const Json found = run.eval({"--model", merged.string()});
    EXPECT_NEAR(found["loss"].get<double>(), last_evaluation(run.out())["eval_loss"].get<double>(), 1e-5) << name;
    EXPECT_THAT(read_text(merged / "config.json"), HasSubstr("ForSequenceClassification"));
  }
}

TEST(Classification, ANewHeadIsResumedBitByBit) {
  const std::vector<std::string> settings =
      with(from_nothing(), {"--set", "training.save_steps=9", "--set", "data.shuffle=true", "--set", "adapter.lora_dropout=0.2"});
  const TrainedCase whole("llama_classes", settings);
  ASSERT_EQ(whole.outcome.exit_code, 0) << whole.outcome.err;
  const std::string resumed = (whole.scratch / "resumed").string();
  const Outcome outcome = lora_train(with(with({"--config", whole.config.string()}, settings),
                                          {"--set", "output_dir=" + resumed, "--resume", (whole.out() / "checkpoint-9").string()}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(sha256_of_file(fs::path(resumed) / "adapter_model.safetensors", ErrorKind::kOutput),
            sha256_of_file(whole.out() / "adapter_model.safetensors", ErrorKind::kOutput));
  EXPECT_EQ(last_evaluation(resumed), last_evaluation(whole.out()));
}

TEST(Classification, TheBestModelIsChosenByTheMetric) {
  const TrainedCase run("llama_classes", {"--set", "training.eval_steps=2", "--set", "training.save_steps=2", "--set",
                                          "training.load_best_model_at_end=true", "--set", "training.metric_for_best_model=accuracy"});
  ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
  double best = -1;
  int64_t best_step = 0;
  for (const Json& row : read_rows(run.out() / "metrics.jsonl")) {
    if (row.contains("eval_accuracy") && row["eval_accuracy"].get<double>() > best) {
      best = row["eval_accuracy"].get<double>();
      best_step = row["step"].get<int64_t>();
    }
  }
  const Json result = Json::parse(read_text(run.out() / "run.json"))["result"];
  EXPECT_EQ(result["best_eval_accuracy"], best);
  EXPECT_EQ(result["best_step"], best_step);
  EXPECT_EQ(result["result_step"], best_step);
  const TrainedCase other("llama_classes", {"--set", "training.metric_for_best_model=pearson"});
  EXPECT_EQ(other.outcome.exit_code, 2);
  EXPECT_THAT(other.outcome.err, AllOf(HasSubstr("metric_for_best_model"), HasSubstr("eval_matthews_correlation")));
}

TEST(Classification, FullFineTuningWritesAClassifier) {
  for (const char* name : {"bert_full", "bert_values"}) {
    std::vector<std::string> settings{"--set", "adapter=null", "--set", "training.objective=sequence_classification"};
    const TrainedCase run(name, settings);
    ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
    EXPECT_THAT(run.outcome.err, HasSubstr("AutoModelForSequenceClassification"));
    const Json config = Json::parse(read_text(run.out() / "config.json"));
    EXPECT_EQ(config["architectures"], (Json{"BertForSequenceClassification"}));
    EXPECT_EQ(config["problem_type"], std::string(name) == "bert_full" ? "single_label_classification" : "regression");
    const auto tensors = stored_tensors(run.out());
    EXPECT_TRUE(tensors.contains("classifier.weight") && tensors.contains("bert.pooler.dense.weight")) << name;
    EXPECT_NEAR(run.eval({"--model", run.out().string()})["loss"].get<double>(), last_evaluation(run.out())["eval_loss"].get<double>(),
                1e-6);
  }
}

/// As transformers 5 does, except that its own head decides where transformers would not load the folder.
TEST(Classification, NumLabelsNextToAnId2LabelOfAnotherLength) {
  const TrainedCase run("bert_full", {"--set", "training.max_steps=1"});
  ASSERT_EQ(run.outcome.exit_code, 0) << run.outcome.err;
  const fs::path file = run.out() / "config.json";
  Json config = Json::parse(read_text(file));
  ASSERT_EQ(config["id2label"].size(), 2U);
  const auto evaluate = [&](int64_t num_labels, const Json& id2label) {
    config.update({{"num_labels", num_labels}, {"id2label", id2label}});
    config.erase("label2id");
    write_text(file, config.dump());
    return run_tool({"lora-eval", "--data", (run.folder() / "eval.jsonl").string(), "--format", "classification", "--json", "--model",
                     run.out().string(), "--dtype", "float32"});
  };
  const Json two{{"0", "A"}, {"1", "B"}}, three{{"0", "A"}, {"1", "B"}, {"2", "C"}};
  const Outcome plain = evaluate(2, two);
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, Not(HasSubstr("num_labels")));
  const auto expect_same = [&](const Outcome& outcome, const char* reason) {
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(Json::parse(outcome.out)["loss"], Json::parse(plain.out)["loss"]);
    EXPECT_THAT(outcome.err, HasSubstr(reason));
  };
  expect_same(evaluate(7, two), "num_labels is 7, but id2label names 2 labels: using id2label, because the head has as many outputs");
  expect_same(evaluate(2, three), "num_labels is 2, but id2label names 3 labels: using num_labels, without names, as in transformers");
  const Outcome neither = evaluate(7, three);
  EXPECT_EQ(neither.exit_code, 4);
  EXPECT_THAT(neither.err,
              AllOf(HasSubstr("num_labels"), HasSubstr("found an integer (7)"), HasSubstr("as many labels as the head has, 2")));
}

TEST(Classification, OtherModulesThatTheBaseModelLacksAreSavedToo) {
  // A base model without pooler: PEFT would only save the classifier, and lose the random pooler that it was trained on.
  TemporaryFolder scratch;
  const fs::path config = copy_case("bert_pairs", scratch);
  const fs::path weights = scratch / "bert_pairs/model/model.safetensors";
  std::string file = read_text(weights);
  for (size_t place = file.find("bert.pooler."); place != std::string::npos; place = file.find("bert.pooler.")) {
    file.replace(place, 5, "gone.");
  }
  write_text(weights, file);
  const Outcome outcome =
      lora_train({"--config", config.string(), "--set", "adapter.init_from=null", "--set", "adapter.target_modules=[\"query\",\"value\"]"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const fs::path out = scratch / "bert_pairs/out";
  EXPECT_EQ(Json::parse(read_text(out / "adapter_config.json"))["modules_to_save"], (Json{"classifier", "score", "bert.pooler.dense"}));
  EXPECT_TRUE(stored_tensors(out).contains("base_model.model.bert.pooler.dense.weight"));
}

TEST(Classification, ErrorsSayWhatToDo) {
  const auto expect_fault = [](const char* name, const std::vector<std::string>& settings, int code,
                               const std::vector<std::string>& parts) {
    const TrainedCase run(name, settings);
    EXPECT_EQ(run.outcome.exit_code, code) << run.outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(run.outcome.err, HasSubstr(part));
    }
  };
  expect_fault("bert_pairs", {"--set", "data.packing=true"}, 2, {"data.packing", "sequence_classification"});
  expect_fault("bert_pairs", {"--set", "data.train_on=all"}, 2, {"data.train_on", "the label of each row"});
  expect_fault("bert_pairs", {"--set", "data.overlength=split"}, 2, {"data.overlength", "split"});
  expect_fault("bert_pairs", {"--set", "training.objective=causal_lm"}, 2,
               {"data.train[0].format", "\"classification\" with training.objective \"causal_lm\"", "sequence_classification"});
  expect_fault("bert_pairs", {"--set", "data.train=[{\"path\": \"rows.jsonl\", \"format\": \"tokens\"}]"}, 2,
               {"data.train[0].format", "found \"tokens\"", "expected classification"});
  expect_fault("bert_pairs", {"--set", "adapter.task_type=CAUSAL_LM"}, 2, {"adapter.task_type", "SEQ_CLS"});
  expect_fault("distilbert_classes", {"--set", "adapter.init_from=null", "--set", "adapter.target_modules=null"}, 2,
               {"adapter.target_modules", "no default", "q_lin (2)", "lin2 (2)"});
}

TEST(Classification, AnEncoderWithCausalLmNamesTheObjective) {
  TemporaryFolder scratch;
  const fs::path config = copy_case("bert_pairs", scratch);
  write_text(scratch / "bert_pairs/tokens.jsonl", "{\"input_ids\": [1, 2, 3]}\n");
  const Outcome outcome = lora_train({"--config", config.string(), "--set", "training.objective=causal_lm", "--set",
                                      "adapter.init_from=null", "--set", "adapter.task_type=null", "--set", "data.eval=[]", "--set",
                                      "training.eval_steps=null", "--set", "training.metric_for_best_model=eval_loss", "--set",
                                      "data.train=[{\"path\": \"tokens.jsonl\", \"format\": \"tokens\"}]"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("encoder 'bert'"), HasSubstr("sequence_classification")));
}

TEST(Classification, ErrorsInRowsAndFilesNameTheirPosition) {
  TemporaryFolder scratch;
  const fs::path config = copy_case("bert_pairs", scratch);
  const fs::path rows = scratch / "bert_pairs/rows.jsonl", eval = scratch / "bert_pairs/eval.jsonl";
  write_text(eval, "{\"input_ids\": [1, 2], \"label\": 1}\n{\"input_ids\": [1, 2], \"label\": 3}\n");
  Outcome outcome = lora_train({"--config", config.string()});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("eval.jsonl:2"), HasSubstr("found 3"), HasSubstr("from 0 to 2")));
  write_text(rows, "{\"input_ids\": [1, 2], \"label\": 1}\n{\"input_ids\": [1, 2]}\n");
  outcome = lora_train({"--config", config.string()});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("rows.jsonl:2"), HasSubstr("\"label\" is missing")));
  write_text(rows, "{\"input_ids\": [1, 2], \"label\": 0}\n");
  EXPECT_THAT(lora_train({"--config", config.string()}).err, HasSubstr("too few classes"));
  fs::resize_file(scratch / "bert_pairs/model/model.safetensors", 9000);
  write_text(rows, "{\"input_ids\": [1, 2], \"label\": 0}\n{\"input_ids\": [1, 2], \"label\": 1}\n");
  write_text(eval, "{\"input_ids\": [1, 2], \"label\": 1}\n");
  outcome = lora_train({"--config", config.string()});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace lora::test
