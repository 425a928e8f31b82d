// Adapters in other formats: the content of the files, and what is read back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/peft/formats.h"
#include "support/expect_error.h"
#include "support/gguf_file.h"
#include "support/golden.h"
#include "support/golden_adapter.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::golden_adapter;
using test::normal;
using test::pair_of;
using test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

BaseFacts base_of(const std::string& name) {
  const fs::path folder = test::Golden(name).folder / "model";
  return {"model", read_json(folder / "config.json", ErrorKind::kModel), {}};
}

LowRankUpdate update_of(const Adapter& adapter, const std::string& module) {
  for (const LowRankUpdate& update : adapter.low_rank()) {
    if (update.module == module) {
      return update;
    }
  }
  throw std::out_of_range(module);
}

/// An update with random numbers, as if read from a file.
LowRankUpdate random_update(const std::string& module, int64_t rank, int64_t inputs, int64_t outputs, double alpha) {
  const auto seed = static_cast<uint64_t>(rank * 100 + inputs);
  LowRankUpdate update;
  update.module = module;
  update.A_RI = normal({rank, inputs}, seed, at::kFloat);
  update.B_OR = normal({outputs, rank}, seed + 1, at::kFloat);
  update.alpha = alpha;
  update.scale = scale_of(alpha, rank, false);
  return update;
}

void expect_same_factors(const Adapter& found, const Adapter& expected) {
  ASSERT_EQ(found.low_rank().size(), expected.low_rank().size());
  for (const LowRankUpdate& update : expected.low_rank()) {
    const LowRankUpdate other = update_of(found, update.module);
    expect_equal(other.A_RI, update.A_RI, update.module);
    expect_equal(other.B_OR, update.B_OR, update.module);
    EXPECT_NEAR(other.scale, update.scale, 1e-15 * update.scale) << update.module;
  }
}

void expect_same_deltas(const Adapter& found, const Adapter& expected, double tolerance) {
  ASSERT_EQ(found.low_rank().size(), expected.low_rank().size());
  for (const LowRankUpdate& update : expected.low_rank()) {
    expect_close(delta(update_of(found, update.module)), delta(update), tolerance, update.module);
  }
}

TEST(Mlx, RoundTripIsBitIdenticalWithOneScaleAndRank) {
  const TemporaryFolder folder;
  const Adapter adapter = golden_adapter("llama/tied/adapter");  // rsLoRA
  write_foreign_adapter(AdapterFormat::kMlx, folder.path(), adapter, {}, {});
  const io::SafetensorsFile file(folder / "adapters.safetensors");
  const LowRankUpdate& first = pair_of(adapter);
  expect_equal(file.tensor(first.module + ".lora_a"), first.A_RI.t().contiguous());
  expect_equal(file.tensor(first.module + ".lora_b"), first.B_OR.t().contiguous());
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["fine_tune_type"], "lora");
  EXPECT_EQ(config["num_layers"], -1);
  EXPECT_EQ(config["lora_parameters"]["rank"], 3);
  EXPECT_DOUBLE_EQ(config["lora_parameters"]["scale"].get<double>(), 2 / std::sqrt(3.0));
  EXPECT_THAT(config["lora_parameters"]["keys"].get<std::vector<std::string>>(),
              ElementsAre("mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj",
                          "self_attn.v_proj"));
  EXPECT_EQ(detect_adapter_format(folder.path()), AdapterFormat::kMlx);
  expect_same_factors(read_foreign_adapter(AdapterFormat::kMlx, folder.path(), {}), adapter);
}

TEST(Mlx, OtherScalesAndRanksKeepTheProduct) {
  const TemporaryFolder folder;
  for (const char* name : {"llama/llama3/adapter", "llama/dynamic/adapter"}) {
    const Adapter adapter = golden_adapter(name);
    write_foreign_adapter(AdapterFormat::kMlx, folder.path(), adapter, {}, {});
    const Adapter back = read_foreign_adapter(AdapterFormat::kMlx, folder.path(), {});
    expect_same_deltas(back, adapter, 1e-6);
    for (const LowRankUpdate& update : back.low_rank()) {  // padded: MLX uses one rank for all modules
      EXPECT_EQ(update.rank(), pair_of(back).rank());
    }
  }
}

TEST(Mlx, SupportsDora) {
  const TemporaryFolder folder;
  Adapter adapter = golden_adapter("convert/dora");
  write_foreign_adapter(AdapterFormat::kMlx, folder.path(), adapter, {}, {});
  EXPECT_EQ(read_json(folder / "adapter_config.json", ErrorKind::kModel)["fine_tune_type"], "dora");
  const Adapter back = read_foreign_adapter(AdapterFormat::kMlx, folder.path(), {});
  EXPECT_TRUE(back.options.use_dora);
  expect_same_deltas(back, adapter, 1e-6);
  for (const LowRankUpdate& update : adapter.low_rank()) {
    expect_equal(*update_of(back, update.module).magnitude_O, *update.magnitude_O, update.module);
  }
  // Converted back to PEFT's format, it is still DoRA.
  write_foreign_adapter(AdapterFormat::kPeft, folder.path(), back, {}, {});
  EXPECT_EQ(read_json(folder / "adapter_config.json", ErrorKind::kModel)["use_dora"], true);
}

TEST(Mlx, EmbeddingsNeedABaseWithAnUntiedHead) {
  const TemporaryFolder folder;
  Adapter adapter;
  adapter.updates = {random_update("model.embed_tokens", 2, 11, 6, 4)};
  pair_of(adapter).kind = PairKind::kEmbedding;
  expect_error(ErrorKind::kModel, {"MLX", "model.embed_tokens", "--drop-unsupported"},
               [&] { write_foreign_adapter(AdapterFormat::kMlx, folder.path(), adapter, base_of("tied"), {}); });
  write_foreign_adapter(AdapterFormat::kMlx, folder.path(), adapter, base_of("gqa"), {});
  const Adapter back = read_foreign_adapter(AdapterFormat::kMlx, folder.path(), base_of("gqa"));
  EXPECT_TRUE(pair_of(back).is_embedding());
  expect_same_factors(back, adapter);
  expect_error(ErrorKind::kModel, {"model.embed_tokens", "--model"}, [&] { read_foreign_adapter(AdapterFormat::kMlx, folder.path(), {}); });
}

TEST(Mlx, DamagedFilesSayWhatIsWrong) {
  const TemporaryFolder folder;
  const auto fails = [&](const Json& config, const std::vector<io::NamedTensor>& tensors, const std::vector<std::string>& parts) {
    folder.write("adapter_config.json", config.dump());
    io::save_tensors(folder / "adapters.safetensors", tensors);
    expect_error(ErrorKind::kModel, parts, [&] { read_foreign_adapter(AdapterFormat::kMlx, folder.path(), {}); });
  };
  const Json good = Json::parse(R"({"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 2, "scale": 2.0}})");
  const Tensor a = normal({6, 2}, 1, at::kFloat);
  const Tensor b = normal({2, 4}, 2, at::kFloat);
  fails(good, {{"x.lora_a", a}}, {"'x'", "lora_b"});
  fails(good, {{"x.lora_a", a}, {"x.lora_b", b.t()}}, {"'x'", "do not match"});
  fails(good, {{"x.lora_a", a}, {"x.lora_b", b}, {"x.weight", a}}, {"1 tensor with unknown names", "x.weight"});
  fails(good, {{"x.lora_a", a}, {"x.lora_b", b}, {"x.m", normal({4}, 3, at::kFloat)}}, {"'x'", "magnitude"});
  fails(good, {}, {"no tensors"});
  fails(Json::parse(R"({"fine_tune_type": "full"})"), {}, {"fine_tune_type", "full"});
  fails(Json::parse(R"({"lora_parameters": {"rank": 2}})"), {{"x.lora_a", a}, {"x.lora_b", b}}, {"scale"});
  fails(Json::parse(R"({"lora_parameters": {"scale": -1}})"), {{"x.lora_a", a}, {"x.lora_b", b}}, {"scale", "above 0"});
  fails(Json::parse("[1]"), {}, {"adapter_config.json"});
}

TEST(Kohya, RoundTripIsBitIdenticalAndResolvesUnderscores) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  BaseFacts base = base_of("llama3");
  base.modules = {"lm_head", "model.embed_tokens"};
  for (const LowRankUpdate& update : golden_adapter("llama/llama3/adapter").low_rank()) {
    base.modules.push_back(update.module);
  }
  const Adapter adapter = golden_adapter("llama/llama3/adapter");  // several ranks and alphas
  write_foreign_adapter(AdapterFormat::kKohya, path, adapter, base, {});
  const io::SafetensorsFile file(path);
  const std::string name = "lora_unet_model_layers_1_self_attn_q_proj";
  expect_equal(file.tensor(name + ".lora_down.weight"), update_of(adapter, "model.layers.1.self_attn.q_proj").A_RI);
  expect_equal(file.tensor(name + ".lora_up.weight"), update_of(adapter, "model.layers.1.self_attn.q_proj").B_OR);
  expect_equal(file.tensor(name + ".alpha"), at::scalar_tensor(3.0, at::kFloat));
  EXPECT_EQ(file.metadata().at("ss_network_module"), "networks.lora");
  EXPECT_EQ(file.metadata().at("ss_network_dim"), "Dynamic");
  EXPECT_EQ(detect_adapter_format(path), AdapterFormat::kKohya);
  expect_same_factors(read_foreign_adapter(AdapterFormat::kKohya, path, base), adapter);
  expect_same_factors(read_foreign_adapter(AdapterFormat::kKohya, path, {}), adapter);  // Llama's names are known

  // rsLoRA: A and B are unchanged; the scale is that of a float32 alpha.
  const Adapter rslora = golden_adapter("llama/dynamic/adapter");
  write_foreign_adapter(AdapterFormat::kKohya, path, rslora, {}, {at::kFloat, "lora_te1", false});
  const Adapter back = read_foreign_adapter(AdapterFormat::kKohya, path, {});
  for (const LowRankUpdate& update : rslora.low_rank()) {
    expect_equal(update_of(back, update.module).A_RI, update.A_RI);
    EXPECT_NEAR(update_of(back, update.module).scale, update.scale, 1e-7 * update.scale);
  }
}

TEST(Kohya, AmbiguousNamesAreListed) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  Adapter adapter;
  adapter.updates = {random_update("a.b_c", 2, 6, 4, 4), random_update("a.d", 2, 6, 4, 4)};
  write_foreign_adapter(AdapterFormat::kKohya, path, adapter, {}, {});
  expect_error(ErrorKind::kModel, {"lora_unet_a_b_c", "lora_unet_a_d", "--model"},
               [&] { read_foreign_adapter(AdapterFormat::kKohya, path, {}); });
  const BaseFacts ambiguous{"m", Json::object(), {"a.b_c", "a.b.c", "a.d"}};
  expect_error(ErrorKind::kModel, {"1 name without exactly one matching module", "lora_unet_a_b_c"},
               [&] { read_foreign_adapter(AdapterFormat::kKohya, path, ambiguous); });
  expect_same_factors(read_foreign_adapter(AdapterFormat::kKohya, path, {"m", Json::object(), {"a.b_c", "a.d"}}), adapter);
}

TEST(Kohya, DamagedFilesSayWhatIsWrong) {
  const TemporaryFolder folder;
  const std::string name = "lora_unet_lm_head";
  const Tensor down = normal({2, 6}, 1, at::kFloat);
  const Tensor up = normal({4, 2}, 2, at::kFloat);
  const auto fails = [&](const std::vector<io::NamedTensor>& tensors, const std::vector<std::string>& parts) {
    io::save_tensors(folder / "x.safetensors", tensors);
    expect_error(ErrorKind::kModel, parts, [&] { read_foreign_adapter(AdapterFormat::kKohya, folder / "x.safetensors", {}); });
  };
  fails({{name + ".lora_down.weight", down}}, {name, "lora_up"});
  fails({{name + ".lora_down.weight", down}, {name + ".lora_up.weight", up.t()}}, {name, "do not match"});
  fails({{name + ".lora_down.weight", down.view({2, 6, 1, 1})}, {name + ".lora_up.weight", up}}, {name, "convolution"});
  fails({{name + ".lora_down.weight", down}, {name + ".lora_up.weight", up}, {name + ".alpha", at::zeros({})}}, {name, "above 0"});
  fails({{name + ".lora_down.weight", down}, {name + ".hada_w1_a", up}}, {"hada_w1_a", "another method"});
  // Without an alpha the scale is 1.
  io::save_tensors(folder / "x.safetensors", {{name + ".lora_down.weight", down}, {name + ".lora_up.weight", up}});
  EXPECT_EQ(pair_of(read_foreign_adapter(AdapterFormat::kKohya, folder / "x.safetensors", {})).scale, 1);
}

/// Permutes a weight of q_proj or k_proj as llama.cpp's converter does: row (2 i + half) of a head is its row (half · E/2 + i).
Tensor converter_order(const Tensor& weight, int64_t heads) {
  const int64_t size = weight.size(0) / heads;
  Tensor result = at::empty_like(weight);
  for (int64_t row = 0; row < weight.size(0); ++row) {
    const int64_t head = row / size;
    const int64_t place = row % size;
    result[row] = weight[head * size + (place % 2) * (size / 2) + place / 2];
  }
  return result;
}

TEST(GgufAdapter, GivesTheMergedWeightsInTheOrderOfLlamaCpp) {
  const TemporaryFolder folder;
  for (const std::string name : {"gqa", "tied", "llama3", "dynamic", "mistral"}) {
    const Adapter adapter = golden_adapter((name == "mistral" ? "families/" : "llama/") + name + "/adapter");
    const BaseFacts base = base_of(name);
    write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base, {});
    const test::GgufFile file(folder / "x.gguf");
    EXPECT_EQ(file.texts.at("general.architecture"), "llama");
    EXPECT_EQ(file.texts.at("general.type"), "adapter");
    EXPECT_EQ(file.texts.at("adapter.type"), "lora");
    EXPECT_EQ(file.names.size(), 2 * adapter.low_rank().size());
    const std::map<std::string, int64_t> heads{{"q_proj", base.config["num_attention_heads"].get<int64_t>()},
                                               {"k_proj", base.config["num_key_value_heads"].get<int64_t>()}};
    const std::map<std::string, std::string> names{{"q_proj", "attn_q"},      {"k_proj", "attn_k"},      {"v_proj", "attn_v"},
                                                   {"o_proj", "attn_output"}, {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"},
                                                   {"down_proj", "ffn_down"}};
    for (const LowRankUpdate& update : adapter.low_rank()) {
      const std::string last = update.module.substr(update.module.rfind('.') + 1);
      const std::string ggml = "blk." + update.module.substr(13, 1) + "." + names.at(last) + ".weight";
      const Tensor a = file.tensor(ggml + ".lora_a");
      const Tensor b = file.tensor(ggml + ".lora_b");
      const Tensor found = at::mm(b, a) * (file.floats.at("adapter.lora.alpha") / static_cast<double>(b.size(1)));
      const Tensor expected = heads.count(last) > 0 ? converter_order(delta(update), heads.at(last)) : delta(update);
      expect_close(found, expected, 1e-6, name + " " + update.module);
    }
  }
}

TEST(GgufAdapter, AlphaFitsMostModulesWhoseFactorsAreUnchanged) {
  const TemporaryFolder folder;
  Adapter adapter;
  adapter.updates = {random_update("model.layers.0.self_attn.v_proj", 4, 8, 6, 8), random_update("model.layers.1.mlp.up_proj", 2, 8, 6, 8),
                     random_update("lm_head", 4, 8, 6, 12)};
  write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base_of("gqa"), {});
  const test::GgufFile file(folder / "x.gguf");
  EXPECT_EQ(file.floats.at("adapter.lora.alpha"), 8);
  expect_equal(file.tensor("blk.0.attn_v.weight.lora_b"), pair_of(adapter).B_OR);
  expect_equal(file.tensor("blk.1.ffn_up.weight.lora_b"), pair_of(adapter, 1).B_OR);
  expect_equal(file.tensor("output.weight.lora_a"), pair_of(adapter, 2).A_RI);
  expect_equal(file.tensor("output.weight.lora_b"), pair_of(adapter, 2).B_OR * 1.5);
}

TEST(GgufAdapter, EmbeddingsAreTransposedAndTiedOnesRefused) {
  const TemporaryFolder folder;
  Adapter adapter;
  adapter.updates = {random_update("model.embed_tokens", 2, 11, 6, 4)};
  pair_of(adapter).kind = PairKind::kEmbedding;
  write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base_of("gqa"), {});
  const test::GgufFile file(folder / "x.gguf");
  expect_equal(file.tensor("token_embd.weight.lora_a"), pair_of(adapter).A_RI.t().contiguous());
  expect_equal(file.tensor("token_embd.weight.lora_b"), pair_of(adapter).B_OR);
  expect_error(ErrorKind::kModel, {"GGUF", "that the base ties", "model.embed_tokens"},
               [&] { write_foreign_adapter(AdapterFormat::kGguf, folder / "y.gguf", adapter, base_of("tied"), {}); });
}

TEST(GgufAdapter, NeedsAKnownBase) {
  const TemporaryFolder folder;
  const Adapter adapter = golden_adapter("llama/gqa/adapter");
  const auto fails = [&](const Json& config, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kModel, parts, [&] {
      write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, {"m", config, {}}, {});
    });
    EXPECT_FALSE(fs::exists(folder / "x.gguf"));
  };
  fails(nullptr, {"--model", "config.json"});
  fails(Json::parse(R"({"model_type": "bert"})"), {"bert", "llama"});
  fails(Json::parse(R"({"model_type": "llama", "num_attention_heads": 7})"), {"num_attention_heads", "divides"});
  fails(Json::parse(R"({"model_type": "llama", "num_attention_heads": 0})"), {"num_attention_heads"});
}

TEST(Formats, ListWhatTheyCannotStoreOrDropIt) {
  const TemporaryFolder folder;
  Adapter adapter = golden_adapter("convert/dora");
  pair_of(adapter, 1).bias_O = at::ones({pair_of(adapter, 1).B_OR.size(0)});
  adapter.updates.push_back(random_update("model.layers.0.mlp.router", 2, 8, 6, 8));
  adapter.updates.emplace_back(HeldTensor{{"lm_head.weight", at::ones({4, 4})}});
  adapter.updates.emplace_back(HeldTensor{{"model.norm.weight", at::ones({4})}});
  adapter.updates.emplace_back(HeldTensor{{"model.embed_tokens.weight", at::ones({2, 4})}, {7, 9}});
  adapter.options.lora_bias = true;
  adapter.options.modules_to_save = {"lm_head", "norm"};
  const BaseFacts base = base_of("gqa");
  expect_error(ErrorKind::kModel,
               {"GGUF", "trainable_token_indices): model.embed_tokens.weight", "DoRA magnitudes", "--bake", "lora_bias",
                pair_of(adapter, 1).module, "lm_head.weight, model.norm.weight", "without a name in GGUF", "mlp.router",
                "--drop-unsupported"},
               [&] { write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base, {}); });
  EXPECT_FALSE(fs::exists(folder / "x.gguf"));
  // PEFT's copy of a base tensor: leaving it out loses nothing.
  adapter.updates.emplace_back(HeldTensor{{pair_of(adapter).module + ".weight", at::ones({4, 4})}, {}, /*of_base=*/true});
  const Written written =
      write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base, {at::kFloat, "lora_unet", /*drop_unsupported=*/true});
  EXPECT_EQ(written.left_out.size(), 5U);
  EXPECT_EQ(written.num_modules, adapter.low_rank().size() - 1);
  EXPECT_EQ(test::GgufFile(folder / "x.gguf").names.size(), 2 * written.num_modules);

  for (const AdapterFormat format : {AdapterFormat::kKohya, AdapterFormat::kMlx, AdapterFormat::kVllm}) {
    expect_error(ErrorKind::kModel, {"lora_bias", "lm_head.weight"},
                 [&] { write_foreign_adapter(format, folder / "out", adapter, base, {}); });
  }
}

TEST(Formats, VllmHasOneScaleAndRank) {
  const TemporaryFolder folder;
  const Adapter adapter = golden_adapter("llama/dynamic/adapter");  // rsLoRA, two ranks
  write_foreign_adapter(AdapterFormat::kVllm, folder.path(), adapter, {"base", {}, {}}, {});
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["use_rslora"], false);
  EXPECT_EQ(config["r"], 7);
  EXPECT_TRUE(config["rank_pattern"].empty());
  EXPECT_TRUE(config["alpha_pattern"].empty());
  EXPECT_EQ(config["base_model_name_or_path"], "base");
  LoraOptions options;
  options.r = 7;
  options.lora_alpha = config["lora_alpha"];
  expect_same_deltas(read_adapter(folder.path(), options), adapter, 1e-6);
}

TEST(Formats, HalfPrecisionIsRoundedOnceAndMustNotOverflow) {
  const TemporaryFolder folder;
  Adapter adapter;
  adapter.updates = {random_update("lm_head", 2, 8, 6, 4)};
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    write_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", adapter, base_of("gqa"), {dtype});
    expect_equal(test::GgufFile(folder / "x.gguf").tensor("output.weight.lora_a"), pair_of(adapter).A_RI.to(dtype));
  }
  pair_of(adapter).A_RI[0][0] = 1e5;
  expect_error(ErrorKind::kModel, {"lm_head", "too large for float16"},
               [&] { write_foreign_adapter(AdapterFormat::kKohya, folder / "x", adapter, {}, {at::kHalf}); });
}

TEST(Formats, OtherFilesAreErrors) {
  const TemporaryFolder folder;
  const auto fails = [](const fs::path& path, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kModel, parts, [&] { detect_adapter_format(path); });
  };
  fails(folder / "nowhere", {"nowhere", "found nothing", "PEFT", "MLX", "kohya"});
  fails(folder.path(), {"a folder without adapter weights"});
  fails(folder.write("x.txt", "y"), {"another kind of file"});
  folder.write("a/adapter_config.json", "{}");
  fails(folder / "a", {"adapter_model.safetensors or adapter_model.bin"});
  fails(folder.write("x.safetensors", "short"), {"x.safetensors"});
  expect_error(ErrorKind::kModel, {"GGUF"}, [&] { read_foreign_adapter(AdapterFormat::kGguf, folder / "x.gguf", {}); });
}

}  // namespace
}  // namespace lora::peft
