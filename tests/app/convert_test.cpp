// lora-convert: through every format and back, to other ranks, from checkpoints, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Convert : public testing::Test {
 protected:
  static std::string golden(const std::string& name) { return (kData / "llama" / name).string(); }
  std::string at(const std::string& name) const { return (scratch_ / name).string(); }

  static Outcome convert(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "lora-convert");
    return run_tool(arguments);
  }
  static Json report(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const Outcome outcome = convert(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? Json::parse(outcome.out) : Json::object();
  }
  /// How two adapters differ (lora-inspect --diff).
  static Json difference(const std::string& first, const std::string& second) {
    const Outcome outcome = run_tool({"lora-inspect", first, "--diff", second, "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? Json::parse(outcome.out) : Json::object();
  }
  static void expect_same(const std::string& first, const std::string& second, double tolerance) {
    const Json found = difference(first, second);
    EXPECT_TRUE(found["only_in_first"].empty() && found["only_in_second"].empty());
    ASSERT_FALSE(found["modules"].empty());
    for (const Json& module : found["modules"]) {
      EXPECT_LE(module["relative_difference"].get<double>(), tolerance) << module;
      EXPECT_LE(module.value("magnitude_difference", 0.0), tolerance) << module;
    }
  }
  static std::string weights_hash(const std::string& folder) {
    return sha256_of_file(fs::path(folder) / "adapter_model.safetensors", ErrorKind::kOutput);
  }

  TemporaryFolder scratch_;
};

TEST_F(Convert, CreatesMissingParentFolders) {
  for (const char* format : {"mlx", "kohya"}) {
    const Outcome outcome =
        convert({"--adapter", golden("gqa") + "/adapter", "--to", format, "--output", at(std::string(format) + "/made/on/the.way")});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(fs::exists(at(std::string(format) + "/made/on/the.way")));
  }
}

TEST_F(Convert, ThroughMlxAndKohyaAndBackBitByBit) {
  for (const std::string name : {"gqa", "tied"}) {
    const std::string adapter = golden(name) + "/adapter";
    EXPECT_EQ(report({"--adapter", adapter, "--to", "mlx", "--output", at(name + "-mlx")})["format"], "mlx");
    EXPECT_EQ(report({"--adapter", at(name + "-mlx"), "--to", "kohya", "--output", at(name + ".safetensors")})["format"], "kohya");
    const Json last =
        report({"--adapter", at(name + ".safetensors"), "--to", "peft", "--model", golden(name) + "/model", "--output", at(name)});
    EXPECT_EQ(last["left_out"], Json::array());
    EXPECT_EQ(weights_hash(at(name)), weights_hash(adapter)) << name;
    expect_same(adapter, at(name), name == "tied" ? 1e-7 : 1e-15);  // rsLoRA: kohya's alpha is float32
  }
  // The result can be trained further as any other adapter.
  const Outcome eval = run_tool({"lora-eval", "--model", golden("gqa") + "/model", "--adapter", at("gqa"), "--data",
                                 golden("gqa") + "/eval.jsonl", "--format", "tokens", "--device", "cpu"});
  EXPECT_EQ(eval.exit_code, 0) << eval.err;
}

TEST_F(Convert, GgufOnlyNeedsTheConfigOfTheBaseModel) {
  fs::create_directories(at("base"));
  fs::copy(golden("gqa") + "/model/config.json", at("base"));
  const Outcome outcome = convert(
      {"--adapter", golden("gqa") + "/adapter", "--to", "gguf", "--model", at("base"), "--output", at("new/x.gguf"), "--dtype", "f16"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("x.gguf: gguf, 4 modules"));
  EXPECT_EQ(read_text(at("new/x.gguf")).substr(0, 4), "GGUF");
}

TEST_F(Convert, ToAnotherRankWithTheErrorReported) {
  const std::string adapter = golden("llama3") + "/adapter";
  const Json smaller = report({"--adapter", adapter, "--resize", "2", "--output", at("smaller")});
  EXPECT_EQ(smaller["format"], "peft");
  EXPECT_EQ(smaller["modules"].size(), 8U);
  EXPECT_GT(smaller["relative_error"].get<double>(), 0.1);
  const Json config = Json::parse(read_text(at("smaller/adapter_config.json")));
  EXPECT_EQ(config["r"], 2);
  EXPECT_EQ(config["lora_alpha"], 2);
  EXPECT_TRUE(config["rank_pattern"].empty() && config["alpha_pattern"].empty());
  const Json found = difference(adapter, at("smaller"));
  for (size_t i = 0; i < found["modules"].size(); ++i) {
    EXPECT_NEAR(found["modules"][i]["relative_difference"].get<double>(), smaller["modules"][i]["relative_error"].get<double>(), 1e-6);
  }
  const Outcome text = convert({"--adapter", adapter, "--resize", "6", "--output", at("larger")});
  EXPECT_THAT(text.out, AllOf(HasSubstr("relative error"), HasSubstr("model.layers.1.self_attn.q_proj"), HasSubstr("all ")));
  expect_same(adapter, at("larger"), 1e-6);
}

TEST_F(Convert, DoraIsBakedWithItsModel) {
  const std::string dora = (kData / "convert/dora").string();
  const std::string model = golden("gqa") + "/model";
  const Outcome refused = convert({"--adapter", dora, "--model", model, "--to", "gguf", "--output", at("x.gguf")});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("DoRA"), HasSubstr("--bake"), HasSubstr("--drop-unsupported")));
  EXPECT_FALSE(fs::exists(at("x.gguf")));
  const Outcome dropped = convert({"--adapter", dora, "--model", model, "--to", "gguf", "--output", at("x.gguf"), "--drop-unsupported"});
  EXPECT_EQ(dropped.exit_code, 0);
  EXPECT_THAT(dropped.err, AllOf(HasSubstr("warning"), HasSubstr("left out"), HasSubstr("DoRA magnitudes")));
  const Outcome without = convert({"--adapter", dora, "--bake", "--r", "5", "--output", at("plain")});
  EXPECT_EQ(without.exit_code, 4);
  EXPECT_THAT(without.err, HasSubstr("--model"));

  const Json baked = report({"--adapter", dora, "--bake", "--r", "5", "--model", model, "--to", "gguf", "--output", at("y.gguf")});
  const Json expected = Json::parse(read_text(kData / "convert/expected.json"))["baked"];
  for (const Json& module : baked["modules"]) {
    const Json& best = expected[module["module"].get<std::string>()];
    EXPECT_NEAR(module["error"].get<double>(), best["error"].get<double>(), 1e-5 * best["norm"].get<double>());
  }
  // As a PEFT folder it is plain LoRA, and at full rank equal to DoRA.
  report({"--adapter", dora, "--bake", "--r", "60", "--model", model, "--output", at("plain")});
  EXPECT_EQ(Json::parse(read_text(at("plain/adapter_config.json")))["use_dora"], false);
  const auto loss = [&](const std::string& adapter) {
    const Outcome eval = run_tool({"lora-eval", "--model", model, "--adapter", adapter, "--data", golden("gqa") + "/eval.jsonl", "--format",
                                   "tokens", "--device", "cpu", "--dtype", "float32", "--json"});
    EXPECT_EQ(eval.exit_code, 0) << eval.err;
    return Json::parse(eval.out)["loss"].get<double>();
  };
  EXPECT_NEAR(loss(at("plain")), loss(dora), 1e-5);
}

TEST_F(Convert, EveryMethodThatChangesWeightsBecomesALora) {
  const auto loss = [](const std::string& name, const std::string& adapter) {
    const Outcome eval = run_tool({"lora-eval", "--model", golden(name) + "/model", "--adapter", adapter, "--data",
                                   golden(name) + "/eval.jsonl", "--format", "tokens", "--device", "cpu", "--dtype", "float32", "--json"});
    EXPECT_EQ(eval.exit_code, 0) << eval.err;
    return eval.exit_code == 0 ? Json::parse(eval.out)["loss"].get<double>() : 0;
  };
  for (const std::string name : {"adalora", "lokr", "oft", "miss_bat"}) {
    const std::string adapter = golden(name) + "/adapter", model = golden(name) + "/model";
    // Of full rank it is the same change. The rank of AdaLoRA's updates is at most init_r.
    const std::string rank = name == "adalora" ? "5" : "64";
    const Json whole = report({"--adapter", adapter, "--to-lora", rank, "--model", model, "--output", at(name)});
    EXPECT_LT(whole["relative_error"].get<double>(), 1e-5) << name;
    EXPECT_EQ(Json::parse(read_text(at(name + "/adapter_config.json")))["peft_type"], "LORA") << name;
    EXPECT_NEAR(loss(name, at(name)), loss(name, adapter), 2e-5) << name;
  }
  const Json small = report({"--adapter", golden("loha") + "/adapter", "--to-lora", "1", "--model", golden("loha") + "/model", "--to",
                             "gguf", "--output", at("loha.gguf")});
  EXPECT_GT(small["relative_error"].get<double>(), 1e-3);
  double error = 0, norm = 0;
  for (const Json& module : small["modules"]) {
    error += std::pow(module["error"].get<double>(), 2), norm += std::pow(module["norm"].get<double>(), 2);
  }
  EXPECT_NEAR(small["relative_error"].get<double>(), std::sqrt(error / norm), 1e-6);
}

TEST_F(Convert, NamesWhatCannotBecomeALora) {
  const auto expect = [this](const std::string& adapter, const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    std::vector<std::string> arguments{"--adapter", adapter, "--to-lora", "4", "--output", at("none")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = convert(arguments);
    EXPECT_THAT(outcome.exit_code, testing::AnyOf(2, 4)) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_FALSE(fs::exists(at("none")));
  };
  expect(golden("loha") + "/adapter", {}, {"--model", "weights of the base"});
  expect(golden("loha") + "/adapter", {"--model", golden("tied") + "/model", "--allow-other-base"}, {"does not belong to the base model"});
  expect(golden("ln_tuning") + "/adapter", {"--model", golden("ln_tuning") + "/model"}, {"no update"});
  expect(golden("loha") + "/adapter", {"--bake", "--r", "4"}, {"--to-lora", "--bake"});
  expect(golden("loha") + "/adapter", {"--resize", "4"}, {"--to-lora", "--resize"});
}

TEST_F(Convert, ExtractsWhatTrainingChanged) {
  // An adapter that was merged into a model is extracted again.
  const std::string model = golden("llama3") + "/model";
  const std::string adapter = golden("llama3") + "/adapter";
  const Outcome merge = run_tool({"lora-merge", "--model", model, "--adapter", adapter, "--output", at("tuned")});
  ASSERT_EQ(merge.exit_code, 0) << merge.err;
  const Json found = report({"--extract", "--base", model, "--tuned", at("tuned"), "--r", "6", "--output", at("lora")});
  EXPECT_EQ(found["num_modules"], 8);
  EXPECT_LT(found["relative_error"].get<double>(), 1e-5);
  EXPECT_TRUE(found["not_captured"].empty());
  expect_same(adapter, at("lora"), 1e-5);
  EXPECT_EQ(Json::parse(read_text(at("lora/adapter_config.json")))["base_model_name_or_path"], model);
  const Json some = report(
      {"--extract", "--base", model, "--tuned", at("tuned"), "--r", "2", "--target-modules", "q_proj,v_proj", "--output", at("some")});
  EXPECT_EQ(some["num_modules"], 4);
  EXPECT_EQ(some["not_captured"].size(), 4U);
  EXPECT_EQ(some["not_captured"][0]["reason"], "not a target");
  EXPECT_GT(some["relative_error_of_all"].get<double>(), some["relative_error"].get<double>());
  const Outcome equal = convert({"--extract", "--base", model, "--tuned", model, "--r", "2", "--output", at("none")});
  EXPECT_EQ(equal.exit_code, 4);
  EXPECT_THAT(equal.err, HasSubstr("do not differ"));
  const Outcome nothing =
      convert({"--extract", "--base", model, "--tuned", at("tuned"), "--r", "2", "--target-modules", "query", "--output", at("none")});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("'query'"));
}

TEST_F(Convert, RefusesFlagsThatExcludeEachOther) {
  const std::string adapter = golden("gqa") + "/adapter";
  const auto expect = [](const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    const Outcome outcome = convert(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  expect({}, {"--output"});
  expect({"--output", "x"}, {"--adapter"});
  expect({"--adapter", adapter, "--output", "x"}, {"--to", "gguf"});
  expect({"--adapter", adapter, "--to", "kohia", "--output", "x"}, {"--to", "did you mean 'kohya'"});
  expect({"--adapter", adapter, "--to", "mlx", "--from", "gguf", "--output", "x"}, {"--from", "can only be written"});
  expect({"--adapter", adapter, "--to", "mlx", "--dtype", "int8", "--output", "x"}, {"--dtype", "int8"});
  expect({"--adapter", adapter, "--bake", "--output", "x"}, {"--bake", "--r"});
  expect({"--adapter", adapter, "--to", "mlx", "--r", "4", "--output", "x"}, {"--r", "--bake or --extract"});
  expect({"--adapter", adapter, "--bake", "--r", "4", "--resize", "2", "--output", "x"}, {"--resize", "--bake"});
  expect({"--adapter", adapter, "--resize", "0", "--output", "x"}, {"--resize"});
  expect({"--adapter", adapter, "--extract", "--r", "2", "--output", "x"}, {"--adapter", "--extract"});
  expect({"--extract", "--r", "2", "--base", "y", "--output", "x"}, {"--tuned"});
  expect({"--adapter", adapter, "--to", "mlx", "--target-modules", "q_proj", "--output", "x"}, {"--target-modules", "--extract"});
}

TEST_F(Convert, RefusesUnusableInputsAndOutputs) {
  const std::string adapter = golden("gqa") + "/adapter";
  const auto expect = [](int exit_code, const std::vector<std::string>& arguments, const std::string& part) {
    const Outcome outcome = convert(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
  };
  expect(6, {"--adapter", adapter, "--to", "peft", "--output", adapter}, "input");
  scratch_.write("there/notes.txt", "mine");
  expect(6, {"--adapter", adapter, "--to", "mlx", "--output", at("there")}, "notes.txt");
  expect(6, {"--adapter", adapter, "--to", "mlx", "--output", at("there"), "--overwrite"}, "notes.txt");
  expect(6, {"--adapter", adapter, "--to", "kohya", "--output", at("there")}, "is a folder");
  expect(6, {"--adapter", adapter, "--to", "kohya", "--output", at("there/notes.txt")}, "--overwrite");
  EXPECT_EQ(read_text(at("there/notes.txt")), "mine");
  expect(0, {"--adapter", adapter, "--to", "kohya", "--output", at("there/notes.txt"), "--overwrite"}, "");
  expect(4, {"--adapter", at("nowhere"), "--to", "mlx", "--output", at("x")}, "found nothing");
  expect(4, {"--adapter", adapter, "--to", "gguf", "--output", at("x")}, "--model");
  expect(4, {"--adapter", adapter, "--from", "mlx", "--to", "peft", "--output", at("x")}, "lora_parameters");
  // Another model's adapter.
  expect(4, {"--adapter", adapter, "--to", "gguf", "--model", golden("odd") + "/model", "--output", at("x")}, "q_proj");
  EXPECT_FALSE(fs::exists(at("x")));
}

}  // namespace
}  // namespace lora::test
