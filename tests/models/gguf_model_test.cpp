// GGUF files as base models (scripts/golden/gguf_architectures.py).
#include "lora/models/gguf_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "lora/base/bundle.h"
#include "lora/io/gguf.h"
#include "lora/io/gguf_file.h"
#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/models/open_checkpoint.h"
#include "logits_of.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

using test::expect_error;
using test::TemporaryFolder;

const fs::path kFolder = test::kData / "quantized" / "gguf_architectures";

ModelOptions options_of(const fs::path& file) {
  add_gguf_model(file);
  ModelOptions options;
  options.path = file;
  options.device = "cpu";
  options.dtype = ComputeDtype::kFloat32;
  return options;
}

class GgufModel : public testing::TestWithParam<const char*> {};

TEST_P(GgufModel, LogitsAreThoseOfTransformers) {
  const io::SafetensorsFile expected(kFolder / "logits.safetensors");
  const BaseModel base = load_base_model(options_of(kFolder / (std::string(GetParam()) + ".gguf")), 0);
  const at::Tensor logits = logits_of(base, expected.tensor("input_ids"));
  const at::Tensor reference = expected.tensor(GetParam());
  const double largest = reference.abs().max().item<double>();
  test::expect_close(logits / largest, reference / largest, 1e-5, GetParam());
  EXPECT_FALSE(base.fingerprint.empty());
  EXPECT_TRUE(base.unread_keys.empty()) << base.unread_keys.front();
}

INSTANTIATE_TEST_SUITE_P(Architectures, GgufModel,
                         testing::Values("llama", "llama_rope", "qwen2", "qwen3", "qwen3moe", "phi3", "gemma", "gemma2", "gemma3", "gpt2",
                                         "gptneox", "gptneox_serial", "falcon", "falcon_new", "stablelm", "stablelm_parallel", "olmo2",
                                         "smollm3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GgufModels, ProjectionsStayPackedAndEverythingElseIsPlain) {
  const fs::path file = kFolder / "llama.gguf";
  add_gguf_model(file);
  const auto checkpoint = open_checkpoint(file, read_model_config(file));
  const io::StoredWeight q = checkpoint->stored("model.layers.0.self_attn.q_proj.weight");
  ASSERT_NE(q.packed, nullptr);
  EXPECT_EQ(q.packed->format(), "Q8_0");
  EXPECT_TRUE(at::equal(io::decoded(*q.packed, at::kFloat), checkpoint->tensor("model.layers.0.self_attn.q_proj.weight")));
  const io::StoredWeight table = checkpoint->stored("model.embed_tokens.weight");
  EXPECT_EQ(table.packed, nullptr);
  EXPECT_EQ(table.tensor.sizes(), (at::IntArrayRef{89, 32}));
  EXPECT_EQ(checkpoint->facts("model.embed_tokens.weight").stored_as, "Q4_0");
}

TEST(GgufModels, AreReadAsFolders) {
  const fs::path file = kFolder / "tokenizer_llama3.gguf";
  add_gguf_model(file);
  EXPECT_EQ(bundled_names(file),
            (std::vector<std::string>{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}));
  EXPECT_TRUE(is_file(file / "config.json"));
  EXPECT_FALSE(is_file(file / "model.safetensors"));
  EXPECT_EQ(read_json(file / "config.json", ErrorKind::kModel)["model_type"], "llama");
  EXPECT_EQ(sha256_of_file(file / "config.json", ErrorKind::kModel), sha256(read_file(file / "config.json", ErrorKind::kModel)));
  EXPECT_TRUE(read_json(file / "generation_config.json", ErrorKind::kModel)["eos_token_id"].is_number());
  EXPECT_FALSE(is_bundle(kFolder / "VERSIONS.json"));
}

/// A file with one key and tensor instead of a model's.
fs::path small_file(const TemporaryFolder& folder, const std::string& architecture, const std::string& tensor) {
  const fs::path file = folder / (architecture + tensor + ".gguf");
  const std::string prefix = architecture + ".";
  io::write_gguf(file,
                 {{"general.architecture", architecture},
                  {prefix + "embedding_length", uint32_t{4}},
                  {prefix + "block_count", uint32_t{1}},
                  {prefix + "attention.head_count", uint32_t{2}}},
                 {{"token_embd.weight", at::ones({5, 4})}, {tensor, at::ones({4, 4})}});
  add_gguf_model(file);
  return file;
}

TEST(GgufModels, WhatIsNotKnownIsRefusedByName) {
  const TemporaryFolder folder;
  const fs::path mamba = small_file(folder, "mamba", "x.weight");
  expect_error(ErrorKind::kModel, {"general.architecture", "found 'mamba', expected one of llama, qwen2"},
               [&] { read_model_config(mamba); });
  const fs::path other = small_file(folder, "llama", "blk.0.ssm_in.weight");
  expect_error(ErrorKind::kModel, {"tensor 'blk.0.ssm_in.weight'", "is not a tensor of the architecture llama"},
               [&] { open_checkpoint(other, read_model_config(other)); });
  const fs::path experts = folder / "mixtral.gguf";
  io::write_gguf(experts,
                 {{"general.architecture", std::string("llama")},
                  {"llama.embedding_length", uint32_t{4}},
                  {"llama.block_count", uint32_t{1}},
                  {"llama.attention.head_count", uint32_t{2}},
                  {"llama.expert_count", uint32_t{8}}},
                 {{"token_embd.weight", at::ones({5, 4})}});
  add_gguf_model(experts);
  expect_error(ErrorKind::kModel, {"llama.expert_count", "found 8", "mixtures of experts of this architecture are not supported"},
               [&] { read_model_config(experts); });
  const fs::path vocabulary = kFolder / "tokenizer_gpt2.gguf";
  expect_error(ErrorKind::kModel, {"num_hidden_layers"}, [&] { load_base_model(options_of(vocabulary), 0); });
}

TEST(GgufModels, AScaleThatIsNotFiniteIsAnError) {
  std::string bytes = read_file(kFolder / "llama.gguf", ErrorKind::kModel);
  const io::GgufFile whole(kFolder / "llama.gguf");
  const auto tensor =
      std::find_if(whole.tensors().begin(), whole.tensors().end(), [](const auto& each) { return each.name == "blk.0.attn_q.weight"; });
  ASSERT_NE(tensor, whole.tensors().end());
  ASSERT_STREQ(tensor->type->name, "Q8_0");
  bytes[tensor->begin + static_cast<size_t>(tensor->type->bytes)] = 0x00;  // the second block's scale
  bytes[tensor->begin + static_cast<size_t>(tensor->type->bytes) + 1] = 0x7e;
  const TemporaryFolder folder;
  const fs::path file = folder.write("damaged.gguf", bytes);
  expect_error(ErrorKind::kModel, {"model.layers.0.self_attn.q_proj.weight", "not finite"}, [&] { load_base_model(options_of(file), 0); });
}

}  // namespace
}  // namespace lora::models
