// TorchScript modules that take whole rows: train, resume, evaluate, merge, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kRowScripts = fs::path(lora::test::data_folder()) / "torchscript";

class ModuleRows : public testing::Test {
 protected:
  std::string module(const std::string& name) const { return (kRowScripts / "modules" / (name + ".pt")).string(); }
  std::string rows(const std::string& name) const { return (kRowScripts / "row_runs" / name).string(); }
  std::string out(const std::string& name) const { return (scratch_ / name).string(); }
  Outcome train(const std::string& name, const std::string& folder, const std::vector<std::string>& settings = {}) const {
    std::vector<std::string> arguments{"--config", rows(name) + "/run.json", "--set", "output_dir=" + out(folder)};
    for (const std::string& setting : settings) {
      if (!setting.starts_with("--")) {
        arguments.emplace_back("--set");
      }
      arguments.push_back(setting);
    }
    return lora_train(arguments);
  }
  Outcome evaluate(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "lora-eval");
    arguments.insert(arguments.end(), {"--trust-torchscript", "--json"});
    return run_tool(arguments);
  }

  /// Writes rows of features, and returns the setting with which the run reads them.
  std::string source(const std::string& key, const std::string& name, const std::string& text) const {
    write_text(scratch_ / name, text);
    return key + "=[{\"path\": \"" + out(name) + "\", \"format\": \"features\"}]";
  }
  /// The module's own loss of rows of features, with an adapter or (none) without.
  Outcome own_loss(const std::string& of_module, const std::string& data, const std::string& adapter = "") const {
    std::vector<std::string> arguments{"--model",  module(of_module), "--data",      out(data),
                                       "--format", "features",        "--objective", "module_loss"};
    if (!adapter.empty()) {
      arguments.insert(arguments.end(), {"--adapter", out(adapter)});
    }
    return evaluate(arguments);
  }
  /// Trains another module with the settings of perceptron_loss.
  Outcome train_module(const std::string& name, const std::string& folder, std::vector<std::string> settings) const {
    settings.insert(settings.begin(),
                    {"model.path=" + module(name), "adapter.init_from=null", "adapter.target_modules=[\"first\", \"out\"]"});
    return train("perceptron_loss", folder, settings);
  }

  TemporaryFolder scratch_;
};

/// Rows of six features each, with these targets in turn.
std::string feature_rows(int count, const std::vector<std::string>& targets) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += "{\"features\": [";
    for (int k = 0; k < 6; ++k) {
      text += (k > 0 ? ", " : "") + std::to_string((7 * i + 5 * k + i * k) % 11 - 5) + ".5";
    }
    text += "], \"target\": " + targets[static_cast<size_t>(i) % targets.size()] + "}\n";
  }
  return text;
}

Json expected(const std::string& name) {
  return Json::parse(read_text(kRowScripts / "row_runs" / name / "expected.json"));
}

TEST_F(ModuleRows, DoraOfConvolutionsHasNoDropout) {
  const Outcome outcome = train("convolutions", "conv", {"adapter.init_from=null", "adapter.use_dora=true", "adapter.lora_dropout=0.1"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, testing::AllOf(HasSubstr("adapter.lora_dropout"), HasSubstr("'image', a Conv2d of a TorchScript model")));
}

TEST_F(ModuleRows, ARunEqualsPythonsAndItsAdapterEvaluatesAndMerges) {
  struct Case {
    const char *name, *module, *data, *format, *objective;
  };
  for (const Case& of : {Case{"perceptron", "perceptron", "features", "features", "regression"},
                         Case{"vision", "vision", "images", "features", "sequence_classification"},
                         Case{"convolutions", "convolutions", "images", "features", "sequence_classification"},
                         Case{"document_classifier", "document_classifier", "documents", "classification", "sequence_classification"},
                         Case{"perceptron_loss", "perceptron_loss", "features", "features", "module_loss"}}) {
    SCOPED_TRACE(of.name);
    const Outcome trained = train(of.name, of.name);
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    const std::vector<Json> metrics = read_rows(scratch_ / of.name / "metrics.jsonl");
    EXPECT_NEAR(metrics.back()["eval_loss"].get<double>(), expected(of.name)["end"]["eval_loss"].get<double>(), 1e-5);
    EXPECT_EQ(metrics.back()["eval_num_examples"], 8);
    const Json config = Json::parse(read_text(scratch_ / of.name / "adapter_config.json"));
    EXPECT_TRUE(config["task_type"].is_null());  // PEFT has no such task type

    const std::vector<std::string> data{"--data", rows(of.data) + "_eval.jsonl", "--format", of.format, "--objective", of.objective};
    std::vector<std::string> adapted{"--model", module(of.module), "--adapter", out(of.name)};
    adapted.insert(adapted.end(), data.begin(), data.end());
    const Outcome evaluated = evaluate(adapted);
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
    const double loss = Json::parse(evaluated.out)["loss"].get<double>();
    EXPECT_NEAR(loss, expected(of.name)["end"]["eval_loss"].get<double>(), 1e-5);

    const std::string merged = out(std::string(of.name) + ".pt");
    const Outcome merge =
        run_tool({"lora-merge", "--model", module(of.module), "--trust-torchscript", "--adapter", out(of.name), "--output", merged});
    ASSERT_EQ(merge.exit_code, 0) << merge.err;
    if (std::string(of.data) != "images") {  // their classes have names, which are in the adapter's file
      std::vector<std::string> plain{"--model", merged};
      plain.insert(plain.end(), data.begin(), data.end());
      EXPECT_NEAR(Json::parse(evaluate(plain).out)["loss"].get<double>(), loss, 1e-5);
    }
  }
}

TEST_F(ModuleRows, ClassNamesAreKeptInTheAdapter) {
  ASSERT_EQ(train("vision", "a").exit_code, 0);
  const Json record = Json::parse(read_text(scratch_ / "a" / "run.json"));
  EXPECT_EQ(record["result"]["labels"], Json::array({"bird", "cat", "dog"}));
  write_text(scratch_ / "one.jsonl", read_text(rows("images_eval.jsonl")).substr(0, read_text(rows("images_eval.jsonl")).find('\n') + 1));
  const std::vector<std::string> data{"--data", out("one.jsonl"), "--format", "features", "--objective", "sequence_classification"};
  std::vector<std::string> adapted{"--model", module("vision"), "--adapter", out("a")}, bare{"--model", module("vision")};
  adapted.insert(adapted.end(), data.begin(), data.end());
  bare.insert(bare.end(), data.begin(), data.end());
  EXPECT_EQ(evaluate(adapted).exit_code, 0);
  const Outcome unnamed = evaluate(bare);
  EXPECT_EQ(unnamed.exit_code, 3) << unnamed.out;
}

TEST_F(ModuleRows, AModulesOwnLossKeepsTheClassNamesOfTraining) {
  const std::string two = feature_rows(8, {"\"b\"", "\"c\""}), one = feature_rows(4, {"\"c\""});
  ASSERT_EQ(
      train_module("class_loss", "a",
                   {source("data.train", "t.jsonl", feature_rows(24, {"\"a\"", "\"b\"", "\"c\""})), source("data.eval", "two.jsonl", two)})
          .exit_code,
      0);
  const double loss = read_rows(scratch_ / "a" / "metrics.jsonl").back()["eval_loss"].get<double>();
  const Outcome same = own_loss("class_loss", "two.jsonl", "a");
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_NEAR(Json::parse(same.out)["loss"].get<double>(), loss, 1e-6);
  EXPECT_GT(std::abs(Json::parse(own_loss("class_loss", "two.jsonl").out)["loss"].get<double>() - loss), 1e-3);
  write_text(scratch_ / "one.jsonl", one);
  EXPECT_EQ(own_loss("class_loss", "one.jsonl", "a").exit_code, 0);
  write_text(scratch_ / "other.jsonl", feature_rows(4, {"\"c\"", "\"d\""}));
  const Outcome other = own_loss("class_loss", "other.jsonl", "a");
  EXPECT_EQ(other.exit_code, 3);
  EXPECT_THAT(other.err, HasSubstr("other.jsonl:2] the model does not have the label: found \"d\""));

  // Rows without the first class keep the numbers of the other classes.
  const std::string without = source("data.train", "two.jsonl", two);
  ASSERT_EQ(train_module("class_loss", "b", {without, "data.eval=[]", "adapter.init_from=" + out("a"), "training.max_steps=1"}).exit_code,
            0);
  std::string numbered = two;
  for (const auto& [name, number] : {std::pair("\"b\"", "1"), std::pair("\"c\"", "2")}) {
    for (size_t at = numbered.find(name); at != std::string::npos; at = numbered.find(name)) {
      numbered.replace(at, 3, number);
    }
  }
  ASSERT_EQ(train_module("class_loss", "c", {source("data.train", "n.jsonl", numbered), "data.eval=[]", "training.max_steps=1"}).exit_code,
            0);
  EXPECT_EQ(Json::parse(read_text(scratch_ / "b" / "run.json"))["result"]["labels"], Json::array({"a", "b", "c"}));
  EXPECT_FALSE(Json::parse(read_text(scratch_ / "c" / "run.json"))["result"].contains("labels"));
}

TEST_F(ModuleRows, AModulesOwnLossKeepsTheKindOfTargetsOfTraining) {
  ASSERT_EQ(train_module("chance_loss", "a",
                         {source("data.train", "t.jsonl", feature_rows(8, {"0.0", "1.0"})), "data.eval=[]", "training.max_steps=1"})
                .exit_code,
            0);
  write_text(scratch_ / "whole.jsonl", feature_rows(8, {"0", "1"}));
  write_text(scratch_ / "names.jsonl", feature_rows(8, {"\"x\"", "\"y\""}));
  const Outcome whole = own_loss("chance_loss", "whole.jsonl", "a"), values = own_loss("chance_loss", "t.jsonl", "a");
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(Json::parse(whole.out)["loss"], Json::parse(values.out)["loss"]);
  const Outcome names = own_loss("chance_loss", "names.jsonl", "a");
  EXPECT_EQ(names.exit_code, 3);
  EXPECT_THAT(names.err,
              HasSubstr("names.jsonl:1] the targets differ in kind from those of the adapter: found classes by name, expected values"));

  ASSERT_EQ(train_module("class_loss", "b",
                         {source("data.train", "c.jsonl", feature_rows(8, {"0", "1", "2"})), "data.eval=[]", "training.max_steps=1"})
                .exit_code,
            0);
  const Outcome reals = own_loss("class_loss", "t.jsonl", "b");
  EXPECT_EQ(reals.exit_code, 3);
  EXPECT_THAT(reals.err, HasSubstr("found values (with a decimal point), expected classes by number"));
}

TEST_F(ModuleRows, ADecimalPointAmongClassesIsNamed) {
  std::string text = feature_rows(24, {"0", "1", "2"});
  const size_t tenth = text.find("\"target\": 0", text.find("\"target\": 2", text.size() / 3));
  text.insert(tenth + 11, ".0");
  const auto line = std::to_string(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(tenth), '\n') + 1);
  const std::string data = source("data.train", "t.jsonl", text);
  const Outcome own = train_module("class_loss", "a", {data, "data.eval=[]"});
  EXPECT_EQ(own.exit_code, 4);
  EXPECT_THAT(own.err, HasSubstr("t.jsonl:" + line + "] the target has a decimal point, unlike those before it"));
  write_text(scratch_ / "c.jsonl", text);
  const Outcome classes = evaluate(
      {"--model", module("perceptron_two"), "--data", out("c.jsonl"), "--format", "features", "--objective", "sequence_classification"});
  EXPECT_EQ(classes.exit_code, 3);
  EXPECT_THAT(classes.err, HasSubstr("c.jsonl:" + line + "] the target is not a class"));
}

TEST_F(ModuleRows, AnUnknownClassIsNamedWithItsRow) {
  std::string text;
  for (int i = 0; i < 40; ++i) {  // more than loading tries
    text += feature_rows(1, {i == 37 ? "7" : std::to_string(i % 2)});
  }
  const Outcome outcome = train_module(
      "class_loss", "a",
      {source("data.train", "t.jsonl", feature_rows(8, {"0", "1", "2"})), source("data.eval", "e.jsonl", text), "training.max_steps=1"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("(given " + out("e.jsonl") + ":33, "));
}

TEST_F(ModuleRows, ANonFiniteEvaluationIsAnErrorThatNamesTheRows) {
  std::string text;
  for (int i = 0; i < 64; ++i) {
    const std::string sign = i % 16 == 3 || i % 16 == 5 ? "-" : "";  // rows that loading does not try
    text += "{\"features\": [" + sign + std::to_string(1 + i % 7) + ", 2, 3, 1, " + std::to_string(1 + i % 5) +
            ", 2], \"target\": " + std::to_string(i % 3) + "}\n";
  }
  write_text(scratch_ / "n.jsonl", text);
  for (const auto& [name, objective] : {std::pair("logarithms", "regression"), std::pair("logarithm_scores", "sequence_classification")}) {
    const Outcome outcome = evaluate({"--model", module(name), "--data", out("n.jsonl"), "--format", "features", "--objective", objective});
    EXPECT_EQ(outcome.exit_code, 5) << outcome.out;
    EXPECT_THAT(outcome.err, HasSubstr("the loss is not finite: found nan on " + out("n.jsonl") + ":4, " + out("n.jsonl") + ":6, "));
  }
}

TEST_F(ModuleRows, WholeNumbersThatTheDtypeChangesAreWarnedOf) {
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += "{\"features\": [" + std::to_string(250 + i) + "], \"target\": " + std::to_string(i % 3) + ".5}\n";
  }
  write_text(scratch_ / "c.jsonl", text);
  const Outcome outcome =
      evaluate({"--model", module("category_bfloat16"), "--data", out("c.jsonl"), "--format", "features", "--objective", "regression"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("c.jsonl:8] a whole number among the features changes in the module's dtype: 257.0 becomes 256.0"));
}

TEST_F(ModuleRows, AModuleThatIsTrainedInEvaluationModeIsEvaluatedInIt) {
  ASSERT_EQ(train("perceptron", "a",
                  {"model.path=" + module("batch_norm"), "model.base_dropout=0", "adapter.init_from=null",
                   "adapter.target_modules=[\"first\", \"out\"]", "training.max_steps=2"})
                .exit_code,
            0);
  const Outcome outcome = evaluate({"--model", module("batch_norm"), "--adapter", out("a"), "--data", rows("features_eval.jsonl"),
                                    "--format", "features", "--objective", "regression"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NEAR(Json::parse(outcome.out)["loss"].get<double>(), read_rows(scratch_ / "a" / "metrics.jsonl").back()["eval_loss"].get<double>(),
              1e-6);
}

TEST_F(ModuleRows, ALastLayerOfZerosPreventsTheCheck) {
  write_text(scratch_ / "c.jsonl", feature_rows(8, {"0", "1"}));
  for (const auto& [name, objective, is_warned] :
       {std::tuple("zeros", "regression", true), std::tuple("zero_loss", "module_loss", true),
        std::tuple("perceptron", "regression", false), std::tuple("class_loss", "module_loss", false)}) {
    const Outcome outcome = evaluate({"--model", module(name), "--data", out("c.jsonl"), "--format", "features", "--objective", objective});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err.find("returns the same for every row that was tried") != std::string::npos, is_warned) << outcome.err;
  }
}

TEST_F(ModuleRows, AResumedRunGivesTheSameBits) {
  const std::vector<std::string> settings{"adapter.lora_dropout=0.2", "training.save_steps=5", "data.shuffle=true"};
  ASSERT_EQ(train("vision", "whole", settings).exit_code, 0);
  ASSERT_EQ(train("vision", "parts", settings).exit_code, 0);
  for (const char* folder : {"checkpoint-15", "checkpoint-20"}) {
    fs::remove_all(scratch_ / "parts" / folder);
  }
  fs::remove(scratch_ / "parts" / "adapter_model.safetensors");
  Json record = Json::parse(read_text(scratch_ / "parts" / "run.json"));
  record["status"] = "interrupted";
  write_text(scratch_ / "parts" / "run.json", record.dump());
  const Outcome resumed = train("vision", "parts", settings);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, testing::AllOf(HasSubstr("Resuming from "), HasSubstr("checkpoint-10")));
  EXPECT_EQ(stored_tensors(scratch_ / "parts"), stored_tensors(scratch_ / "whole"));
}

TEST_F(ModuleRows, EveryMethodTrains) {
  for (const std::vector<std::string>& method :
       std::vector<std::vector<std::string>>{{"adapter.use_dora=true", "adapter.target_modules=\"all-linear\""},
                                             {"adapter.init_lora_weights=pissa", "adapter.lora_dropout=0.1"},
                                             {"adapter.modules_to_save=[\"head\"]", "adapter.target_modules=[\"q_proj\", \"patches\"]"},
                                             {"adapter.modules_to_save=[\"head\", \"patches\"]", "adapter.target_modules=[\"q_proj\"]"},
                                             {"training.per_device_train_batch_size=auto", "training.gradient_accumulation_steps=2"},
                                             {"data.eval=[]", "data.eval_fraction=0.25", "training.metric_for_best_model=accuracy",
                                              "training.load_best_model_at_end=true", "training.eval_steps=2", "training.save_steps=2"}}) {
    SCOPED_TRACE(method.front());
    std::vector<std::string> settings{"--overwrite", "adapter.init_from=null", "training.max_steps=4"};
    settings.insert(settings.end(), method.begin(), method.end());
    const Outcome outcome = train("vision", "a", settings);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  }
}

TEST_F(ModuleRows, ADryRunShowsRowsAndTargets) {
  const Outcome outcome = train("vision", "a", {"--dry-run"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("images.jsonl:1: features [3,8,8], target "));
  EXPECT_THAT(outcome.err, HasSubstr("24 rows of features [3,8,8]"));
  EXPECT_FALSE(fs::exists(scratch_ / "a"));
}

TEST_F(ModuleRows, RowsThatDoNotFitAreErrors) {
  struct Refused {
    const char* run;
    std::vector<std::string> settings;
    int exit_code;
    std::vector<const char*> parts;
  };
  const auto source = [this](const std::string& name, const std::string& text) { return ModuleRows::source("data.train", name, text); };
  const std::string row = "{\"features\": [1, 2, 3, 4, 5, 6]";
  const std::vector<Refused> all{
      {"perceptron", {source("a.jsonl", row + "}\n")}, 3, {"a.jsonl:1]", "has no target", "regression"}},
      {"perceptron", {source("b.jsonl", row + ", \"target\": \"x\"}\n")}, 3, {"b.jsonl:1]", "is a name"}},
      {"perceptron", {source("c.jsonl", row + ", \"target\": [1, 2]}\n")}, 3, {"the target differs"}},
      {"perceptron", {source("d.jsonl", "{\"features\": [1, 2], \"target\": 1.5}\n"), "data.eval=[]"}, 4, {"fails on inputs of"}},
      {"perceptron",
       {source("e.jsonl", "{\"features\": [1, 2], \"target\": 1.5}\n")},
       3,
       {"the shape of the features differs", "found [6], expected [2]"}},
      {"perceptron", {"training.objective=sequence_classification"}, 4, {"does not score classes: found 1 output per row", "regression"}},
      {"vision", {"training.objective=regression"}, 3, {"is a name"}},
      {"perceptron_two", {"training.objective=sequence_classification"}, 3, {"is not a class", "regression"}},
      {"document_classifier", {"training.objective=regression"}, 3, {"found 1 value, expected 3"}},
      {"perceptron", {"training.objective=causal_lm"}, 2, {"\"features\""}},
      {"perceptron", {"training.metric_for_best_model=accuracy"}, 2, {"eval_loss, eval_pearson"}},
      {"document_classifier", {"training.objective=module_loss"}, 2, {"model.output"}},
  };
  for (const Refused& refused : all) {
    SCOPED_TRACE(std::string(refused.run) + " " + refused.settings.front());
    const Outcome outcome = train(refused.run, "refused", refused.settings);
    EXPECT_EQ(outcome.exit_code, refused.exit_code) << outcome.err;
    for (const char* part : refused.parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  }
}

TEST_F(ModuleRows, OtherProgramsSayWhatTheyNeed) {
  const std::vector<std::string> data{"--model", module("perceptron"), "--data", rows("features_eval.jsonl"), "--format", "features"};
  const Outcome unnamed = evaluate(data);
  EXPECT_EQ(unnamed.exit_code, 2);
  EXPECT_THAT(unnamed.err, HasSubstr("[--objective] is required"));
  std::vector<std::string> other = data;
  other.insert(other.end(), {"--objective", "causal_lm"});
  EXPECT_THAT(evaluate(other).err, HasSubstr("[--format] found features"));
  const Outcome generated = run_tool({"lora-generate", "--model", module("perceptron"), "--trust-torchscript", "--prompt", "x"});
  EXPECT_EQ(generated.exit_code, 2) << generated.err;
  EXPECT_THAT(generated.err, HasSubstr("the argument 'features'"));
  const Outcome verified = run_tool({"lora-merge", "--model", module("perceptron"), "--trust-torchscript", "--adapter",
                                     rows("perceptron/adapter"), "--output", out("m.pt"), "--verify"});
  EXPECT_EQ(verified.exit_code, 2);
  EXPECT_THAT(verified.err, HasSubstr("[--verify] compares language models: found a module that takes features"));
  EXPECT_FALSE(fs::exists(scratch_ / "m.pt"));
  const Outcome inspected = run_tool({"lora-inspect", module("vision"), "--trust-torchscript", "--json"});
  ASSERT_EQ(inspected.exit_code, 0) << inspected.err;
  EXPECT_EQ(Json::parse(inspected.out)["arguments"], Json::array({"features"}));
}

}  // namespace
}  // namespace lora::test
