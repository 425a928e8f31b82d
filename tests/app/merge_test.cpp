// lora-merge: equal to PEFT, verified by itself, and written completely or not at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <thread>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// Writes a safetensors file of `header` and `data`; its end may be a hole.
void write_raw_tensors(const fs::path& file, std::string header, const std::string& data, size_t data_size) {
  header.append(8 - header.size() % 8, ' ');
  const uint64_t length = header.size();
  write_text(file, std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data);
  fs::resize_file(file, sizeof(length) + length + data_size);
}

class Merge : public testing::Test {
 protected:
  /// A model of tests/data/llama with one of its adapters, or others.
  std::vector<std::string> command(const std::string& name, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"lora-merge",
                                       "--model",
                                       (kData / "llama" / name / "model").string(),
                                       "--adapter",
                                       (kData / "llama" / name / "adapter").string(),
                                       "--output",
                                       out().string(),
                                       "--device",
                                       "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  fs::path out() const { return scratch_ / "out"; }
  /// The names in the scratch folder, including hidden files.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(scratch_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  Json config() const { return Json::parse(read_text(out() / "config.json")); }

  TemporaryFolder scratch_;
};

/// Expects the tensors of the golden case in `folder`, and the base model's, bit by bit, for the others.
void expect_golden(const std::string& name, const fs::path& base_folder, const fs::path& folder) {
  const auto found = stored_tensors(folder);
  const auto expected = stored_tensors(kData / "merge" / name);
  const auto base = stored_tensors(base_folder);
  for (const auto& [key, tensor] : base) {
    ASSERT_TRUE(found.count(key) == 1) << name << " " << key;
    if (expected.count(key) == 0) {
      EXPECT_EQ(found.at(key), tensor) << name << " " << key;
    }
  }
  for (const auto& [key, tensor] : expected) {
    ASSERT_TRUE(found.count(key) == 1) << name << " " << key;
    if (tensor.dtype == "BF16") {
      EXPECT_EQ(found.at(key), tensor) << name << " " << key;
    } else {
      EXPECT_LE(largest_difference(found.at(key), tensor), 1e-6) << name << " " << key;
    }
  }
}

TEST_F(Merge, EqualsPeftAndVerifiesItself) {
  for (const char* name : {"bfloat16", "several", "dora", "bias", "embedding", "tied_embedding", "whole", "tokens"}) {
    const Json golden = Json::parse(read_text(kData / "merge" / name / "case.json"));
    const fs::path base = kData / golden["base"].get<std::string>();
    std::vector<std::string> arguments{"lora-merge", "--model",  base.string(), "--output", (scratch_ / name).string(),
                                       "--verify",   "--device", "cpu"};
    for (const auto& adapter : golden["adapters"]) {
      arguments.insert(arguments.end(), {"--adapter", (kData / adapter.get<std::string>()).string()});
    }
    for (const auto& weight : golden["weights"]) {
      arguments.insert(arguments.end(), {"--weight", weight.dump()});
    }
    const Outcome outcome = run_tool(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    EXPECT_THAT(outcome.out, testing::AllOf(HasSubstr("largest logit difference"), HasSubstr("mean KL"))) << name;
    expect_golden(name, base, scratch_ / name);
  }
}

TEST_F(Merge, TrainedTokensChangeTheTiedHeadToo) {
  copy_case("token_indices", scratch_);
  const fs::path base = scratch_ / "token_indices/model";
  const std::string adapter = (scratch_ / "token_indices/adapter").string();
  std::vector<std::string> arguments{
      "lora-merge", "--model",  base.string(), "--adapter", adapter, "--output", (scratch_ / "merged").string(),
      "--verify",   "--device", "cpu"};
  const Outcome outcome = run_tool(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto before = stored_tensors(base);
  const auto after = stored_tensors(scratch_ / "merged");
  EXPECT_EQ(after.count("lm_head.weight"), 0u);  // still tied
  EXPECT_NE(after.at("model.embed_tokens.weight"), before.at("model.embed_tokens.weight"));
  arguments.emplace_back("--unmerge");
  arguments.emplace_back("--overwrite");
  const Outcome lost = run_tool(arguments);
  EXPECT_EQ(lost.exit_code, 4);
  EXPECT_THAT(lost.err, HasSubstr("rows of trained tokens"));
  // A file whose rows are not those of the config.
  Json config = Json::parse(read_text(adapter + "/adapter_config.json"));
  config["trainable_token_indices"] = {1, 2};
  write_text(adapter + "/adapter_config.json", config.dump());
  arguments.resize(arguments.size() - 2);
  const Outcome misfit = run_tool(arguments);
  EXPECT_EQ(misfit.exit_code, 4);
  EXPECT_THAT(misfit.err, HasSubstr("trainable_token_indices"));
}

TEST_F(Merge, WritesAWholeFolder) {
  const std::string name = "tied";
  copy_case(name, scratch_);
  const fs::path model = scratch_ / name / "model";
  write_text(model / "tokenizer.json", "{}");
  write_text(model / "generation_config.json", "{\"eos_token_id\": 3}");
  write_text(model / "notes.txt", "not of the model");
  const std::vector<std::string> arguments{
      "lora-merge", "--model",      model.string(), "--adapter", (scratch_ / name / "adapter").string(),
      "--output",   out().string(), "--dtype",      "bfloat16",  "--max-shard-size",
      "20KB",       "--verify"};
  const Outcome outcome = run_tool(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("bfloat16"));
  EXPECT_EQ(read_text(out() / "tokenizer.json"), "{}");
  EXPECT_EQ(read_text(out() / "generation_config.json"), "{\"eos_token_id\": 3}");
  EXPECT_FALSE(fs::exists(out() / "notes.txt"));
  Json expected = Json::parse(read_text(model / "config.json"));
  expected["torch_dtype"] = "bfloat16";
  EXPECT_EQ(config(), expected);
  const Json index = Json::parse(read_text(out() / "model.safetensors.index.json"));
  const auto tensors = stored_tensors(out());
  EXPECT_EQ(index["weight_map"].size(), tensors.size());
  EXPECT_EQ(tensors.count("lm_head.weight"), 0U);
  size_t bytes = 0;
  for (const auto& [key, tensor] : tensors) {
    EXPECT_EQ(tensor.dtype, "BF16") << key;
    EXPECT_TRUE(fs::exists(out() / index["weight_map"][key].get<std::string>())) << key;
    bytes += tensor.bytes.size();
  }
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
  EXPECT_TRUE(fs::exists(out() / "model-00001-of-00003.safetensors"));
}

TEST_F(Merge, UnmergeGivesTheBaseBack) {
  ASSERT_EQ(run_tool(command("gqa", {"--weight", "0.5"})).exit_code, 0);
  const fs::path adapter = kData / "llama/gqa/adapter";
  const std::vector<std::string> back{
      "lora-merge", "--model",  out().string(), "--adapter", adapter.string(), "--weight", "0.5", "--output", (scratch_ / "back").string(),
      "--unmerge",  "--verify", "--device",     "cpu"};
  const Outcome outcome = run_tool(back);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("verified"));
  const auto base = stored_tensors(kData / "llama/gqa/model");
  const auto found = stored_tensors(scratch_ / "back");
  ASSERT_EQ(base.size(), found.size());
  for (const auto& [key, tensor] : base) {
    EXPECT_LE(largest_difference(found.at(key), tensor), 1e-6) << key;
  }
  const Outcome dora = run_tool({"lora-merge", "--model", (kData / "llama/odd/model").string(), "--adapter",
                                 (kData / "merge/dora/adapter0").string(), "--output", (scratch_ / "dora").string(), "--unmerge"});
  EXPECT_EQ(dora.exit_code, 4);
  EXPECT_THAT(dora.err, HasSubstr("DoRA, whose norms before the merge are lost"));
}

TEST_F(Merge, VerifyRefusesADifferentModel) {
  const Outcome outcome = run_tool(command("gqa", {"--verify", "--tolerance", "1e-12"}));
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err,
              testing::AllOf(HasSubstr("largest logit difference"), HasSubstr("tolerance 1e-12"), HasSubstr("Nothing was written")));
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(left().empty());
  const Outcome rows = run_tool(command("gqa", {"--verify", "--data", (kData / "llama/gqa/eval.jsonl").string()}));
  EXPECT_EQ(rows.exit_code, 0) << rows.err;
  EXPECT_THAT(rows.out, HasSubstr("117 tokens, float32"));
}

TEST_F(Merge, UntiesATiedHead) {
  const Outcome outcome = run_tool({"lora-merge", "--model", (kData / "llama/tied/model").string(), "--adapter",
                                    (kData / "merge/head/adapter0").string(), "--output", out().string(), "--verify"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("gets its own head"));
  EXPECT_EQ(config()["tie_word_embeddings"], false);
  expect_golden("head", kData / "llama/tied/model", out());
}

TEST_F(Merge, CombiningEqualsMerging) {
  const std::vector<std::string> two{"--adapter", (kData / "combine/b").string(), "--weight", "0.7", "--weight", "-1.5"};
  std::vector<std::string> together = command("dynamic", two);
  ASSERT_EQ(run_tool(together).exit_code, 0);
  std::vector<std::string> combine{
      "lora-merge", "--combine", "cat", "--adapter", (kData / "llama/dynamic/adapter").string(), "--output", (scratch_ / "cat").string()};
  combine.insert(combine.end(), two.begin(), two.end());
  const Outcome combined = run_tool(combine);
  ASSERT_EQ(combined.exit_code, 0) << combined.err;
  ASSERT_EQ(run_tool({"lora-merge", "--model", (kData / "llama/dynamic/model").string(), "--adapter", (scratch_ / "cat").string(),
                      "--output", (scratch_ / "out2").string(), "--verify"})
                .exit_code,
            0);
  const auto one = stored_tensors(out());
  for (const auto& [key, tensor] : stored_tensors(scratch_ / "out2")) {
    EXPECT_LE(largest_difference(one.at(key), tensor), 1e-6) << key;
  }
  EXPECT_EQ(run_tool(combine).exit_code, 6);  // the output exists
  combine.push_back("--overwrite");
  EXPECT_EQ(run_tool(combine).exit_code, 0);
}

void expect_merge_refused(int exit_code, const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
  const Outcome outcome = run_tool(arguments);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
  EXPECT_EQ(outcome.out, "");
}

TEST_F(Merge, OnlyWritesItsOutput) {
  copy_case("gqa", scratch_);
  const fs::path model = scratch_ / "gqa/model";
  const auto into = [&](const fs::path& output) {
    return std::vector<std::string>{"lora-merge", "--model",       model.string(), "--adapter", (scratch_ / "gqa/adapter").string(),
                                    "--output",   output.string(), "--overwrite"};
  };
  for (const fs::path& output : {model, model / "new", scratch_ / "gqa", scratch_ / "gqa/adapter/x/.."}) {
    expect_merge_refused(6, into(output), {"expected a separate folder"});
  }
  fs::create_directory_symlink(model, scratch_ / "link");
  expect_merge_refused(6, into(scratch_ / "link"), {"expected a separate folder"});
  fs::create_directory(out());
  ASSERT_EQ(run_tool(command("gqa")).exit_code, 0);  // an empty folder may exist
  expect_merge_refused(6, command("gqa"), {"not empty"});
  ASSERT_EQ(run_tool(command("gqa", {"--overwrite"})).exit_code, 0);
  write_text(out() / "thesis.tex", "years of work");
  expect_merge_refused(6, command("gqa", {"--overwrite"}), {"thesis.tex"});
  EXPECT_EQ(read_text(out() / "thesis.tex"), "years of work");
  write_text(scratch_ / "file", "");
  expect_merge_refused(6, into(scratch_ / "file"), {"not a folder"});
}

TEST_F(Merge, RefusesInvalidFlags) {
  const std::string output = out().string();
  const std::string adapter = (kData / "llama/gqa/adapter").string();
  expect_merge_refused(2, {"lora-merge", "--output", output, "--adapter", adapter}, {"--model", "is missing"});
  expect_merge_refused(2, {"lora-merge", "--model", "x", "--output", output}, {"--adapter"});
  expect_merge_refused(2, command("gqa", {"--combine", "linear"}), {"Combine first"});
  expect_merge_refused(2, command("gqa", {"--weight", "1", "--weight", "2"}), {"--weight", "found 2", "each of the 1 --adapter"});
  expect_merge_refused(2, command("gqa", {"--weight", "much"}), {"--weight"});
  expect_merge_refused(2, command("gqa", {"--weight", "nan"}), {"--weight", "a finite number"});
  expect_merge_refused(2, command("gqa", {"--density", "0.5"}), {"--combine"});
  expect_merge_refused(2, command("gqa", {"--tolerance", "0.5"}), {"--verify"});
  expect_merge_refused(2, command("gqa", {"--dtype", "int8"}), {"int8"});
  expect_merge_refused(2, command("gqa", {"--max-shard-size", "0"}), {"--max-shard-size"});
  expect_merge_refused(2, command("gqa", {"--verify", "--data", "x.jsonl", "--format", "txet"}), {"--format", "txet"});
  expect_merge_refused(2, {"lora-merge", "--combine", "tise", "--adapter", adapter, "--adapter", adapter, "--output", output},
                       {"did you mean 'ties'"});
  expect_merge_refused(2,
                       {"lora-merge", "--combine", "ties", "--adapter", adapter, "--adapter", adapter, "--output", output, "--density",
                        "0.5", "--majority-sign-method", "most"},
                       {"--majority-sign-method", "total, frequency"});
  EXPECT_TRUE(left().empty());
}

TEST_F(Merge, RefusesInvalidFiles) {
  const std::string output = out().string();
  const std::string adapter = (kData / "llama/gqa/adapter").string();
  expect_merge_refused(4, {"lora-merge", "--model", (scratch_ / "none").string(), "--adapter", adapter, "--output", output}, {"none"});
  expect_merge_refused(
      4, {"lora-merge", "--model", (kData / "llama/odd/model").string(), "--adapter", adapter, "--output", output},
      {"cannot be merged into this base", "of another shape", "layers.0.self_attn.q_proj.weight [30, 35] instead of [60, 48]"});
  copy_case("gqa", scratch_);
  const fs::path copy = scratch_ / "gqa/adapter";
  const std::string text = read_text(copy / "adapter_config.json");
  Json other = Json::parse(text);
  other["base_model_name_or_path"] = "somebody/another-base";
  write_text(copy / "adapter_config.json", other.dump());
  const std::vector<std::string> merge{"lora-merge", "--model", (scratch_ / "gqa/model").string(), "--adapter", copy.string(),
                                       "--output",   output};
  const Outcome warned = run_tool(merge);
  EXPECT_EQ(warned.exit_code, 0);
  EXPECT_THAT(warned.err, HasSubstr("trained on another base"));
  fs::remove_all(out());
  fs::resize_file(copy / "adapter_model.safetensors", 1000);
  expect_merge_refused(4, merge, {"adapter_model.safetensors"});
  fs::copy_file(kData / "llama/gqa/adapter/adapter_model.safetensors", copy / "adapter_model.safetensors",
                fs::copy_options::overwrite_existing);
  write_raw_tensors(scratch_ / "gqa/model/model.safetensors", R"({"q":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})", "abcd", 4);
  expect_merge_refused(4, merge, {"quantised", "'q'"});
  EXPECT_EQ(left(), std::vector<std::string>{"gqa"});
}

constexpr size_t kLargeTensor = size_t{512} << 20;

/// Flags for a base model with one large tensor of zeros, a hole on the disk, and an adapter for a small one. No model is built.
std::vector<std::string> large_merge(const TemporaryFolder& scratch) {
  const std::string model = (scratch / "large").string();
  const std::string adapter = (scratch / "adapter").string();
  fs::create_directory(model);
  fs::create_directory(adapter);
  write_text(fs::path(model) / "config.json", R"({"model_type": "llama"})");
  const std::string small_end = std::to_string(kLargeTensor + 48);
  write_raw_tensors(fs::path(model) / "model.safetensors",
                    R"({"zeros":{"dtype":"F32","shape":[131072,1024],"data_offsets":[0,)" + std::to_string(kLargeTensor) +
                        R"(]},"model.layers.0.self_attn.q_proj.weight":{"dtype":"F32","shape":[4,3],"data_offsets":[)" +
                        std::to_string(kLargeTensor) + "," + small_end + "]}}",
                    "", kLargeTensor + 48);
  write_text(fs::path(adapter) / "adapter_config.json", R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]})");
  std::string ones;
  for (int i = 0; i < 7; ++i) {
    ones += std::string("\0\0\x80\x3f", 4);
  }
  const std::string key = "\"base_model.model.model.layers.0.self_attn.q_proj.lora_";
  write_raw_tensors(fs::path(adapter) / "adapter_model.safetensors",
                    "{" + key + R"(A.weight":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]},)" + key +
                        R"(B.weight":{"dtype":"F32","shape":[4,1],"data_offsets":[12,28]}})",
                    ones, ones.size());
  return {"--model", model, "--adapter", adapter, "--output", (scratch / "results/out").string(), "--dtype", "bfloat16"};
}

TEST_F(Merge, MemoryHoldsAPieceOfATensor) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's own memory is larger";
#endif
  std::vector<std::string> arguments = large_merge(scratch_);
  arguments.insert(arguments.begin(), "lora-merge");
  const Outcome outcome = run_tool(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(stored_tensors(scratch_ / "results/out").at("zeros").bytes.size(), kLargeTensor / 2);
  rusage usage = {};
  getrusage(RUSAGE_CHILDREN, &usage);
  EXPECT_LT(static_cast<size_t>(usage.ru_maxrss) << 10, kLargeTensor);  // 200 MiB, including the program
}

TEST_F(Merge, AnInterruptedMergeLeavesNothing) {
  std::vector<std::string> arguments = large_merge(scratch_);
  arguments.insert(arguments.begin(), std::string(lora::test::program_folder()) + "/lora-merge");
  const fs::path parent = scratch_ / "results";
  const auto begun = [&parent] { return fs::exists(parent) && !fs::is_empty(parent); };
  for (const int number : {SIGTERM, SIGKILL}) {
    int exit_code = 0;
    for (int trial = 0; trial < 20 && exit_code == 0; ++trial) {  // it may finish before the signal
      fs::remove_all(parent);
      Process process(arguments);
      for (int i = 0; i < 60000 && !begun(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      process.signal(number);
      exit_code = process.wait().exit_code;
    }
    EXPECT_EQ(exit_code, 128 + number);
    EXPECT_FALSE(fs::exists(parent / "out"));
    EXPECT_EQ(fs::is_empty(parent), number == SIGTERM);  // a killed process leaves its hidden folder
    fs::remove_all(parent);
  }
  // A full disk, imitated by a limit of 1 MiB per file.
  std::string line = "trap '' XFSZ; ulimit -f 1024; exec";
  for (const std::string& argument : arguments) {
    line += " '" + argument + "'";
  }
  const Outcome full = Process({"/bin/sh", "-c", line}).wait();
  EXPECT_EQ(full.exit_code, 6) << full.err;
  EXPECT_THAT(full.err, HasSubstr("cannot be written"));
  EXPECT_TRUE(fs::is_empty(parent));
}

}  // namespace
}  // namespace lora::test
