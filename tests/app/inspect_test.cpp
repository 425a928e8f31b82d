// lora-inspect: each kind of folder, as text and as JSON, and its errors for others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Outcome inspect(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "lora-inspect");
  return run_tool(arguments);
}

std::string text_of(const fs::path& path) {
  const Outcome outcome = inspect({path.string()});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome.out;
}

Json json_of(const fs::path& path, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{path.string(), "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = inspect(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.exit_code == 0 ? Json::parse(outcome.out) : Json::object();
}

TEST(Inspect, ShowsAnAdaptersNumbers) {
  const fs::path folder = kData / "llama/llama3/adapter";
  const Json facts = json_of(folder);
  EXPECT_EQ(facts["kind"], "adapter");
  EXPECT_EQ(facts["format"], "peft");
  EXPECT_EQ(facts["method"], "LoRA");
  EXPECT_EQ(facts["base_model_name_or_path"], "model");
  EXPECT_EQ(facts["config"]["r"], 5);
  EXPECT_EQ(facts["size"].get<uintmax_t>(), fs::file_size(folder / "adapter_model.safetensors"));
  const Json golden = Json::parse(read_text(kData / "convert/expected.json"))["figures"];
  ASSERT_EQ(facts["modules"].size(), golden.size());
  double squares = 0;
  int64_t parameters = 0;
  for (const Json& module : facts["modules"]) {
    const Json& expected = golden[module["module"].get<std::string>()];
    for (const char* key : {"norm_A", "norm_B", "norm_BA", "effective_rank", "scale"}) {
      EXPECT_NEAR(module[key].get<double>(), expected[key].get<double>(), 1e-9 * expected[key].get<double>()) << key;
    }
    EXPECT_EQ(module["rank"].get<size_t>(), expected["singular_values"].size());
    EXPECT_EQ(module["singular_values"].size(), expected["singular_values"].size());
    squares += std::pow(module["norm_update"].get<double>(), 2);
    parameters += module["rank"].get<int64_t>() * (module["in_features"].get<int64_t>() + module["out_features"].get<int64_t>());
  }
  EXPECT_NEAR(facts["norm_update"].get<double>(), std::sqrt(squares), 1e-9);
  EXPECT_EQ(facts["num_parameters"], parameters);

  const std::string text = text_of(folder);
  EXPECT_THAT(text,
              AllOf(HasSubstr("LoRA, r 5, lora_alpha 7"), HasSubstr("base         model"), HasSubstr("Roy and Vetterli"),
                    HasSubstr("layer  down_proj  k_proj  q_proj  v_proj"), HasSubstr("    1  "), HasSubstr("legend: blank 0  . to ")));
  EXPECT_THAT(text, HasSubstr("@@@@@@"));     // the largest
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));  // no colours outside of a terminal
  EXPECT_EQ(json_of(kData / "convert/dora")["method"], "DoRA");
  EXPECT_EQ(json_of(kData / "llama/dynamic/adapter")["method"], "rsLoRA");
}

TEST(Inspect, ShowsAModelFromItsHeaders) {
  const Json facts = json_of(kData / "llama/biases/model");  // four shards, tied
  EXPECT_EQ(facts["kind"], "model");
  EXPECT_EQ(facts["model_type"], "llama");
  EXPECT_EQ(facts["is_supported"], true);
  EXPECT_EQ(facts["files"].size(), 5U);
  EXPECT_EQ(facts["config"]["num_hidden_layers"], 2);
  EXPECT_EQ(facts["default_target_modules"], Json({"q_proj", "v_proj"}));
  std::map<std::string, Json> hosts;
  for (const Json& host : facts["hosts"]) {
    hosts[host["pattern"]] = host;
  }
  EXPECT_EQ(hosts["lm_head"]["count"], 1);
  EXPECT_EQ(hosts["model.layers.*.self_attn.k_proj"]["count"], 2);
  EXPECT_EQ(hosts["model.layers.*.self_attn.k_proj"]["kind"], "Linear");
  EXPECT_EQ(hosts["model.layers.*.self_attn.k_proj"]["shape"], Json({16, 32}));
  EXPECT_EQ(hosts["model.embed_tokens"]["kind"], "Embedding");
  const Json index = Json::parse(read_text(kData / "llama/biases/model/model.safetensors.index.json"));
  int64_t tensors = 0;
  for (const Json& group : facts["tensors"]) {
    tensors += group["count"].get<int64_t>();
  }
  EXPECT_EQ(tensors, static_cast<int64_t>(index["weight_map"].size()));
  EXPECT_EQ(facts["num_parameters"].get<int64_t>() * 4, index["metadata"]["total_size"].get<int64_t>());
  EXPECT_EQ(facts["dtypes"]["F32"]["tensors"], tensors);
  EXPECT_THAT(text_of(kData / "llama/tied/model"),
              AllOf(HasSubstr("family       llama"), HasSubstr("tied     Linear"), HasSubstr("q_proj")));

  // An unknown family is shown by its tensor names.
  const TemporaryFolder scratch;
  fs::copy(kData / "llama/gqa/model", scratch / "model");
  scratch.write("model/config.json", R"({"model_type": "unheard_of"})");
  const Json other = json_of(scratch / "model");
  EXPECT_EQ(other["is_supported"], false);
  EXPECT_TRUE(other["default_target_modules"].is_null());
  EXPECT_THAT(text_of(scratch / "model"), AllOf(HasSubstr("unheard_of (cannot be loaded"), HasSubstr("model.layers.*.mlp.up_proj")));
}

class InspectRun : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path config = copy_case("gqa", scratch_);
    const Outcome run = lora_train({"--config", config.string(), "--set", "training.save_steps=5", "--set", "training.max_steps=10"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    out_ = scratch_ / "gqa/out";
  }

  TemporaryFolder scratch_;
  fs::path out_;
};

TEST_F(InspectRun, ShowsARunAndItsCheckpoints) {
  const Json facts = json_of(out_);
  EXPECT_EQ(facts["kind"], "run");
  EXPECT_EQ(facts["run"]["status"], "finished");
  EXPECT_EQ(facts["run"]["result"]["steps"], 10);
  std::vector<Json> rows;
  for (const Json& row : read_rows(out_ / "metrics.jsonl")) {
    if (row.contains("loss")) {
      rows.push_back(row);
    }
  }
  const Json& loss = facts["metrics"]["loss"];
  const auto least = std::min_element(rows.begin(), rows.end(), [](const Json& a, const Json& b) { return a["loss"] < b["loss"]; });
  EXPECT_EQ(loss["rows"], rows.size());
  EXPECT_EQ(loss["first"]["loss"], rows.front()["loss"]);
  EXPECT_EQ(loss["last"]["loss"], rows.back()["loss"]);
  EXPECT_EQ(loss["last"]["step"], rows.back()["step"]);
  EXPECT_EQ(loss["min"]["loss"], (*least)["loss"]);
  EXPECT_EQ(facts["trained"]["kind"], "adapter");
  ASSERT_EQ(facts["checkpoints"].size(), 2U);
  EXPECT_EQ(facts["checkpoints"][0]["state"]["step"], 5);
  EXPECT_EQ(facts["checkpoints"][0]["manifest_holds"], true);
  EXPECT_THAT(text_of(out_), AllOf(HasSubstr("status       finished"), HasSubstr("loss         first "), HasSubstr("checkpoint-10"),
                                   HasSubstr("manifest valid"), HasSubstr("norm of scale*BA by layer")));

  const Json checkpoint = json_of(out_ / "checkpoint-5");
  EXPECT_EQ(checkpoint["kind"], "checkpoint");
  EXPECT_EQ(checkpoint["state"]["step"], 5);
  EXPECT_EQ(checkpoint["trained"]["kind"], "adapter");
  EXPECT_THAT(text_of(out_ / "checkpoint-5"), AllOf(HasSubstr("step         5, epoch "), HasSubstr("manifest     valid")));
}

TEST_F(InspectRun, DistinguishesAKilledRunFromARunningOne) {
  Json run = Json::parse(read_text(out_ / "run.json"));
  run["status"] = "running";
  write_text(out_ / "run.json", run.dump());
  EXPECT_EQ(json_of(out_)["run"]["status"], "killed");
  EXPECT_THAT(text_of(out_), HasSubstr("no process holds the folder's lock"));
  const FolderLock lock(out_);
  EXPECT_EQ(json_of(out_)["run"]["status"], "running");
}

TEST_F(InspectRun, ShowsDamagedPartsWithTheRest) {
  const Json facts = json_of(out_);
  std::ofstream(out_ / "checkpoint-5/adapter_model.safetensors", std::ios::app) << "x";
  fs::remove(out_ / "checkpoint-10/trainer_state.json");
  std::ofstream(out_ / "metrics.jsonl", std::ios::app) << "{\"loss\": 0.";
  const Json damaged = json_of(out_);
  EXPECT_EQ(damaged["metrics"], facts["metrics"]);  // the last row was cut off by a kill
  EXPECT_EQ(damaged["checkpoints"][0]["manifest_holds"], false);
  EXPECT_THAT(damaged["checkpoints"][0]["fault"].get<std::string>(), HasSubstr("adapter_model.safetensors"));
  EXPECT_EQ(damaged["checkpoints"][1]["manifest_holds"], false);
  EXPECT_TRUE(damaged["checkpoints"][1]["state"].contains("error"));
  EXPECT_THAT(text_of(out_), HasSubstr("invalid: "));
  EXPECT_TRUE(json_of(out_ / "checkpoint-5")["trained"].contains("error"));
  EXPECT_THAT(text_of(out_ / "checkpoint-10"), HasSubstr("state        damaged"));
  fs::remove(out_ / "run.json");
  EXPECT_THAT(text_of(out_), HasSubstr("no run.json"));
  scratch_.write("gqa/out/run.json", "{}");
  EXPECT_THAT(text_of(out_), HasSubstr("status       damaged"));
}

TEST(Inspect, ShowsAFileOfTensors) {
  const Json facts = json_of(kData / "safetensors/dtypes.safetensors");
  EXPECT_EQ(facts["kind"], "tensors");
  EXPECT_FALSE(facts["tensors"].empty());
  const fs::path file = kData / "llama/gqa/adapter/adapter_model.safetensors";
  EXPECT_THAT(text_of(file),
              AllOf(HasSubstr("metadata     format = pt"), HasSubstr("lora_A.weight"), HasSubstr("[4,48]"), HasSubstr("F32")));
}

TEST(Inspect, ShowsTheDifferenceOfTwoAdapters) {
  const TemporaryFolder scratch;
  const fs::path first = kData / "llama/gqa/adapter";
  const Json same = json_of(first, {"--diff", first.string()});
  EXPECT_EQ(same["kind"], "difference");
  EXPECT_TRUE(same["config"].empty());
  ASSERT_EQ(same["modules"].size(), 4U);
  for (const Json& module : same["modules"]) {
    EXPECT_LT(module["relative_difference"].get<double>(), 1e-12);
  }
  // The same with twice the scale, and without a layer.
  fs::copy(first, scratch / "other");
  Json config = Json::parse(read_text(first / "adapter_config.json"));
  config["lora_alpha"] = 16;
  config["lora_dropout"] = 0.5;
  scratch.write("other/adapter_config.json", config.dump());
  const Json other = json_of(first, {"--diff", (scratch / "other").string()});
  ASSERT_EQ(other["config"].size(), 2U);
  EXPECT_EQ(other["config"][0], Json({{"key", "lora_alpha"}, {"first", 8}, {"second", 16}}));
  for (const Json& module : other["modules"]) {
    EXPECT_NEAR(module["relative_difference"].get<double>(), 0.5, 1e-12);
    EXPECT_NEAR(module["norm_second"].get<double>(), 2 * module["norm_first"].get<double>(), 1e-9);
  }
  const Outcome text = inspect({"--diff", (scratch / "other").string(), first.string()});  // in either order
  EXPECT_THAT(text.out, AllOf(HasSubstr("lora_alpha: 8 | 16"), HasSubstr("0.5"), HasSubstr("difference by layer and module")));
  // An adapter of another base model: modules that only one has, and shapes that do not match.
  const Json dora = json_of(first, {"--diff", (kData / "convert/dora").string()});
  EXPECT_EQ(dora["only_in_first"].size(), 2U);
  EXPECT_EQ(dora["only_in_second"].size(), 4U);
  EXPECT_EQ(dora["modules"][0]["magnitude_difference"], 2);
  const Outcome shapes = inspect({first.string(), "--diff", (kData / "llama/llama3/adapter").string()});
  EXPECT_EQ(shapes.exit_code, 4);
  EXPECT_THAT(shapes.err, HasSubstr("different base models"));
}

TEST(Inspect, ErrorsNameWhatWasFound) {
  const TemporaryFolder scratch;
  const auto expect = [](int exit_code, const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    const Outcome outcome = inspect(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  expect(2, {}, {"path"});
  expect(4, {(scratch / "nowhere").string()}, {"found nothing", "an adapter", "a model", "a checkpoint", "a run", ".safetensors"});
  expect(4, {scratch.path().string()}, {"an empty folder"});
  scratch.write("folder/a.txt", "");
  expect(4, {(scratch / "folder").string()}, {"a folder with a.txt"});
  expect(4, {(scratch / "folder/a.txt").string()}, {"found a file"});
  expect(4, {scratch.write("x.safetensors", "damaged").string()}, {"x.safetensors", "7 bytes"});
  fs::copy(kData / "llama/gqa", scratch / "gqa", fs::copy_options::recursive);
  fs::resize_file(scratch / "gqa/adapter/adapter_model.safetensors", 1000);
  expect(4, {(scratch / "gqa/adapter").string()}, {"adapter_model.safetensors"});
  fs::resize_file(scratch / "gqa/model/model.safetensors", 1000);
  expect(4, {(scratch / "gqa/model").string()}, {"model.safetensors"});
  scratch.write("poly/adapter_config.json", R"({"peft_type": "POLY"})");
  scratch.write("poly/adapter_model.safetensors", "");
  expect(4, {(scratch / "poly").string()}, {"POLY"});
  expect(4, {(kData / "llama/gqa/adapter").string(), "--diff", (scratch / "folder").string()}, {"folder", "is not an adapter"});
}

}  // namespace
}  // namespace lora::test
