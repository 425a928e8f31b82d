// The same model from files with other names or other splits of its tensors, and what a family refuses.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>

#include "hidden_of.h"
#include "lora/models/family_files.h"
#include "lora/models/mapped_model.h"
#include "lora/nn/linear.h"
#include "support/changed_model.h"
#include "support/expect_error.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

using test::changed;
using test::hidden_of;
using Tensors = std::map<std::string, at::Tensor>;

/// The golden case with its tensors in another form.
BaseModel relaid(const std::string& name, const std::function<Tensors(Tensors)>& relay) {
  const test::Golden golden(name);
  const io::SafetensorsFile file(golden.folder / "model/model.safetensors");
  Tensors tensors;
  for (const std::string& key : file.names()) {
    tensors.emplace(key, file.tensor(key));
  }
  std::vector<io::NamedTensor> named;
  for (const auto& [key, tensor] : relay(std::move(tensors))) {
    named.push_back({key, tensor});
  }
  const test::TemporaryFolder folder;
  folder.write("config.json", read_json(golden.folder / "model/config.json", ErrorKind::kModel).dump());
  io::save_tensors(folder / "model.safetensors", named);
  ModelOptions options;
  options.path = folder.path();
  options.device = "cpu";
  options.dtype = ComputeDtype::kFloat32;
  return load_base_model(options, 0);
}

void expect_same(const std::string& name, const std::function<Tensors(Tensors)>& relay) {
  test::expect_equal(hidden_of(relaid(name, relay)), hidden_of(changed(name, Json::object())), name);
}

/// Renames every tensor whose name contains `from`.
Tensors renamed(const Tensors& tensors, const std::string& from, const std::string& to) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) {
    const size_t place = name.find(from);
    result.emplace(place == std::string::npos ? name : std::string(name).replace(place, from.size(), to), tensor);
  }
  return result;
}

/// The experts of each layer in one tensor per kind, as transformers 5 has them in memory.
Tensors fused(const Tensors& tensors, const std::string& block, const std::array<const char*, 3>& gate_up_down) {
  std::map<std::string, std::array<std::vector<at::Tensor>, 3>> experts;
  Tensors result;
  for (const auto& [name, tensor] : tensors) {
    const size_t place = name.find(block + "experts.");
    if (place == std::string::npos) {
      result.emplace(name, tensor);
    }
  }
  for (int64_t expert = 0;; ++expert) {
    bool found = false;
    for (const auto& [name, tensor] : tensors) {
      const size_t place = name.find(block + "experts." + std::to_string(expert) + ".");
      for (size_t part = 0; part < 3 && place != std::string::npos; ++part) {
        if (name.ends_with(std::string(".") + gate_up_down[part] + ".weight")) {
          experts[name.substr(0, place) + "mlp.experts."][part].push_back(tensor);
          found = true;
        }
      }
    }
    if (!found) {
      break;
    }
  }
  for (const auto& [prefix, parts] : experts) {
    result.emplace(prefix + "gate_up_proj", at::cat({at::stack(parts[0]), at::stack(parts[1])}, 1));
    result.emplace(prefix + "down_proj", at::stack(parts[2]));
  }
  return renamed(result, ".block_sparse_moe.", ".mlp.");
}

TEST(FileLayouts, NamesOfPublishedFilesAreTheSameModel) {
  expect_same("gpt2", [](const Tensors& tensors) {
    Tensors bare = renamed(tensors, "transformer.", "");  // OpenAI's own, with the causal mask that old versions saved
    bare.emplace("h.0.attn.bias", at::ones({1, 1, 8, 8}));
    return bare;
  });
  expect_same("gpt_neox", [](const Tensors& tensors) { return renamed(tensors, "embed_out.", "lm_head."); });
  const auto as_transformers_5 = [](const Tensors& tensors) { return renamed(tensors, ".block_sparse_moe.", ".mlp."); };
  expect_same("mixtral", as_transformers_5);
}

TEST(FileLayouts, FusedExpertsAreTheSameModel) {
  expect_same("mixtral", [](const Tensors& tensors) { return fused(tensors, "block_sparse_moe.", {"w1", "w3", "w2"}); });
  expect_same("qwen3_moe", [](const Tensors& tensors) { return fused(tensors, "mlp.", {"gate_proj", "up_proj", "down_proj"}); });
}

TEST(FileLayouts, TheFilesNamesAreKnownOfWeightsWithOthers) {
  const BaseModel neox = changed("gpt_neox", Json::object());
  EXPECT_EQ(neox.file_names, (std::map<std::string, std::string>{{"lm_head.weight", "embed_out.weight"}}));
  EXPECT_EQ(changed("gpt2", Json::object()).file_names.size(), 0U);
  const BaseModel bare = relaid("gpt2", [](const Tensors& tensors) { return renamed(tensors, "transformer.", ""); });
  EXPECT_EQ(bare.file_names.at("transformer.h.0.attn.c_attn.weight"), "h.0.attn.c_attn.weight");
  for (const nn::Parameter& parameter : bare.model->base_parameters()) {
    EXPECT_EQ(bare.file_names.count(parameter.name), 1U) << parameter.name;
  }
  EXPECT_FALSE(find_family_files("rwkv"));
  EXPECT_TRUE(find_family_files("gpt2")->inputs_first && !find_family_files("llama")->inputs_first);
  EXPECT_EQ(find_family_files("mixtral")->name_of("model.layers.3.block_sparse_moe.gate.weight"), "model.layers.3.mlp.gate.weight");
  EXPECT_EQ(find_family_files("llama")->name_of("lm_head.weight"), "lm_head.weight");
}

TEST(FileLayouts, AConv1DIsMappedAsItLies) {
  const std::unique_ptr<nn::Model> model = map_model(test::Golden("gpt2").folder / "model");
  int64_t turned = 0;
  for (nn::Host* host : model->hosts()) {
    if (host->kind() == std::string("Conv1D")) {
      const auto& linear = dynamic_cast<nn::Linear&>(*host);
      EXPECT_EQ(linear.weight().sizes(), linear.weights().front().base().t().sizes()) << host->name();
      EXPECT_TRUE(linear.weights().front().base().is_contiguous());
      ++turned;
    }
  }
  EXPECT_EQ(turned, 2 * 4);
}

TEST(FamilyConfig, EveryKeyOfTheOtherFamiliesThatChangesTheModelIsRead) {
  const auto differs = [](const char* name, const Json& changes) {
    return !at::allclose(hidden_of(changed(name, changes)), hidden_of(changed(name, Json::object())));
  };
  EXPECT_TRUE(differs("gpt2", {{"layer_norm_epsilon", 0.1}}));
  EXPECT_TRUE(differs("gpt2", {{"scale_attn_weights", false}}));
  EXPECT_TRUE(differs("gpt2", {{"scale_attn_by_inverse_layer_idx", true}}));
  EXPECT_TRUE(differs("gpt2", {{"activation_function", "relu"}}));
  EXPECT_TRUE(differs("gpt_neox", {{"use_parallel_residual", false}}));
  EXPECT_TRUE(differs("gpt_neox", {{"layer_norm_eps", 0.1}}));
  EXPECT_TRUE(differs("falcon", {{"layer_norm_epsilon", 0.1}}));
  EXPECT_TRUE(differs("stablelm", {{"layer_norm_eps", 0.1}}));
  EXPECT_TRUE(differs("mixtral", {{"sliding_window", nullptr}}));
  EXPECT_TRUE(differs("mixtral", {{"num_experts_per_tok", 3}}));
  EXPECT_TRUE(differs("qwen3_moe", {{"norm_topk_prob", false}}));
  EXPECT_TRUE(differs("qwen3_moe", {{"use_sliding_window", true}, {"sliding_window", 4}}));
  // transformers 4's keys of the rotary embeddings.
  EXPECT_FALSE(differs("gpt_neox", {{"rope_parameters", nullptr}, {"rotary_pct", 0.375}, {"rotary_emb_base", 5000}}));
  EXPECT_FALSE(differs("stablelm", {{"rope_parameters", nullptr}, {"partial_rotary_factor", 0.375}, {"rope_theta", 5000.0}}));
  EXPECT_FALSE(differs("qwen3_moe", {{"num_local_experts", nullptr}, {"num_experts", 6}}));
}

TEST(FamilyConfig, FaultsOfTheOtherFamiliesNameTheKey) {
  const auto expect_fault = [](const char* name, const Json& changes, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { changed(name, changes); });
  };
  expect_fault("gpt2", {{"n_head", 5}}, {"config.json: n_head", "divisor of the hidden size (24)"});
  expect_fault("gpt2", {{"add_cross_attention", true}}, {"add_cross_attention", "only plain decoders"});
  expect_fault("gpt2", {{"n_layer", 0}}, {"n_layer", "from 1 to"});
  expect_fault("gpt_neox", {{"num_attention_heads", 3}}, {"num_attention_heads", "divisor of hidden_size (32)"});
  expect_fault("falcon", {{"alibi", true}}, {"config.json: alibi", "rotary positions"});
  expect_fault("falcon_new", {{"num_kv_heads", 3}}, {"num_kv_heads", "divisor of num_attention_heads (8)"});
  expect_fault("falcon_new", {{"num_kv_heads", 4}}, {"query_key_value.weight", "[48, 32]"});
  expect_fault("stablelm", {{"num_attention_heads", 4}}, {"head_dim", "3 channels", "an even number"});
  for (const char* name : {"mixtral", "qwen3_moe"}) {
    expect_fault(name, {{"output_router_logits", true}}, {"output_router_logits", "router_aux_loss_coef"});
    expect_fault(name, {{"num_experts_per_tok", 9}}, {"num_experts_per_tok", "at most the number of experts"});
  }
  expect_fault("mixtral", {{"router_jitter_noise", 0.1}}, {"router_jitter_noise", "0"});
  expect_fault("mixtral", {{"num_local_experts", 7}}, {"block_sparse_moe.gate.weight", "[5, 24]", "[7, 24]"});
  expect_fault("qwen3_moe", {{"decoder_sparse_step", 0}}, {"decoder_sparse_step", "from 1"});
}

TEST(LearnedPositions, ALongerDocumentIsADataError) {
  const BaseModel base = changed("gpt2", Json::object());
  const nn::Batch batch = test::batch_of(test::documents_of({97}, 80));
  test::expect_error(ErrorKind::kData, {"found 97 tokens", "at most 96", "data.max_length"},
                     [&] { base.model->body->hidden(nn::evaluation_pass(batch)); });
}

}  // namespace
}  // namespace lora::models
