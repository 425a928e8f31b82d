#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "models/registry.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::models {
namespace {

using test::expect_error;
using test::TemporaryFolder;

TEST(Family, AnEmptyListMeansNoTensor) {
  const Family none{.model_type = "none", .build = nullptr, .other_heads = "", .old_buffers = ""};
  EXPECT_FALSE(none.may_ignore("layers.0.weight"));
  const Family some{.model_type = "some", .build = nullptr, .other_heads = "lm_head. cls.", .old_buffers = ".bias"};
  EXPECT_TRUE(some.may_ignore("cls.weight"));
  EXPECT_TRUE(some.may_ignore("attention.bias"));
  EXPECT_FALSE(some.may_ignore("layers.0.weight"));
}

ModelOptions options_of_folder(const std::filesystem::path& folder) {
  ModelOptions options;
  options.path = folder;
  options.device = "cpu";
  return options;
}

/// A folder with config.json and every weight of the tiny model.
class ModelFolder {
 public:
  explicit ModelFolder(const Json& changes = Json::object()) : config_(test::tiny_llama_config()) {
    const BaseModel base = test::tiny_llama(changes);
    config_.update(changes);
    for (const nn::Parameter& parameter : base.model->base_parameters()) {
      tensors_.push_back({parameter.name, parameter.tensor});
    }
    write();
  }
  Json& config() { return config_; }
  at::Tensor& tensor(const std::string& name) {
    return std::find_if(tensors_.begin(), tensors_.end(), [&](const io::NamedTensor& t) { return t.name == name; })->tensor;
  }
  void remove(const std::string& name) {
    std::erase_if(tensors_, [&](const io::NamedTensor& t) { return t.name == name; });
  }
  void add(const std::string& name, const at::Tensor& tensor) { tensors_.push_back({name, tensor}); }
  void write() {
    folder_.write("config.json", config_.dump());
    io::save_tensors(folder_ / "model.safetensors", tensors_);
  }
  BaseModel load() const { return load_base_model(options_of_folder(folder_.path()), 0); }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  TemporaryFolder folder_;
  Json config_;
  std::vector<io::NamedTensor> tensors_;
};

void expect_load_error(ModelFolder& model, const std::vector<std::string>& parts) {
  model.write();
  expect_error(ErrorKind::kModel, parts, [&] { model.load(); });
}

const char* const kProjection = "model.layers.1.self_attn.q_proj.weight";

TEST(LoadBaseModel, TakesEveryWeightOfTheFolder) {
  ModelFolder folder;
  folder.add("model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({2}));  // old checkpoints contain it
  folder.write();
  const BaseModel base = folder.load();
  EXPECT_EQ(base.model->base_parameters().size(), 3U * 9 + 3);
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    test::expect_equal(parameter.tensor, folder.tensor(parameter.name), parameter.name);
    EXPECT_EQ(parameter.weight_decay, parameter.name.find("norm") == std::string::npos) << parameter.name;
    EXPECT_FALSE(parameter.tensor.requires_grad());
  }
  EXPECT_EQ(base.files.size(), 2U);
  EXPECT_EQ(base.files[0].filename(), "config.json");
  EXPECT_EQ(base.model->vocab_size(), 50);
  EXPECT_GT(base.model->body->pass_memory(nn::Recompute::kNothing).kept, 0);
  EXPECT_EQ(base.model->body->default_target_modules(), (std::vector<std::string>{"q_proj", "v_proj"}));
}

TEST(LoadBaseModel, AutoWithoutADtypeInTheConfigIsThatOfTheWeights) {
  ModelFolder folder;
  folder.config().erase("dtype");
  folder.config().erase("torch_dtype");
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const nn::Parameter& parameter : folder.load().model->base_parameters()) {
      folder.tensor(parameter.name) = parameter.tensor.to(dtype);
    }
    folder.write();
    EXPECT_EQ(folder.load().model->dtype(), dtype);
  }
}

TEST(LoadBaseModel, HostsAreTransformersModulesWithTheHeadLast) {
  const BaseModel base = test::tiny_llama();
  std::vector<std::string> names;
  for (const nn::Host* host : base.model->hosts()) {
    names.push_back(host->name());
  }
  ASSERT_EQ(names.size(), 3U * 9 + 3);
  EXPECT_EQ(names.front(), "model.embed_tokens");
  EXPECT_EQ(names.back(), "lm_head");
  EXPECT_EQ((std::vector<std::string>(names.begin() + 1, names.begin() + 10)),
            (std::vector<std::string>{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
                                      "model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.o_proj", "model.layers.0.mlp.gate_proj",
                                      "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "model.layers.0.input_layernorm",
                                      "model.layers.0.post_attention_layernorm"}));
  EXPECT_EQ(names[names.size() - 2], "model.norm");
  EXPECT_EQ(base.model->hosts().back(), base.model->head());
}

TEST(LoadBaseModel, ATiedHeadIsTheEmbedding) {
  ModelFolder folder(Json{{"tie_word_embeddings", true}});
  const BaseModel base = folder.load();
  EXPECT_TRUE(base.model->head()->tied());
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    EXPECT_NE(parameter.name, "lm_head.weight");
    if (parameter.name == "model.embed_tokens.weight") {
      EXPECT_EQ(parameter.tensor.data_ptr(), base.model->head()->weight().data_ptr());
    }
  }
}

TEST(LoadBaseModel, NoModelFolderIsAModelError) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kModel, {"model.path", "no such folder", "nowhere"},
               [&] { load_base_model(options_of_folder(folder / "nowhere"), 0); });
  expect_error(ErrorKind::kModel, {"config.json"}, [&] { load_base_model(options_of_folder(folder.path()), 0); });
  folder.write("config.json", test::tiny_llama_config().dump());
  expect_error(ErrorKind::kModel, {"model.safetensors"}, [&] { load_base_model(options_of_folder(folder.path()), 0); });
  folder.write("pytorch_model.bin", "x");
  expect_error(ErrorKind::kModel, {"pytorch_model.bin", "Convert"}, [&] { load_base_model(options_of_folder(folder.path()), 0); });
  folder.write("config.json", "{\"model_type\": ");
  expect_error(ErrorKind::kModel, {"config.json:1:"}, [&] { load_base_model(options_of_folder(folder.path()), 0); });
}

TEST(LoadBaseModel, FaultsOfConfigJsonNameTheKey) {
  ModelFolder folder;
  const auto with = [&](const char* key, const Json& value, const std::vector<std::string>& parts) {
    const Json before = folder.config();
    if (value.is_null()) {
      folder.config().erase(key);
    } else {
      folder.config()[key] = value;
    }
    expect_load_error(folder, parts);
    folder.config() = before;
  };
  with("model_type", "lama",
       {"config.json", "unknown model_type", "'lama'", "expected one of apertus, arcee, bert, camembert, ", "did you mean 'llama'"});
  with("model_type", nullptr, {"config.json: model_type", "missing"});
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    with(key, nullptr, {std::string("config.json: ") + key, "missing"});
    with(key, 0, {std::string("config.json: ") + key, "from 1 to"});
    with(key, "16", {std::string("config.json: ") + key, "an integer"});
    with(key, int64_t{1} << 60, {std::string("config.json: ") + key, "from 1 to"});
  }
  with("num_key_value_heads", 3, {"config.json: num_key_value_heads", "3", "divisor of num_attention_heads (4)"});
  with("head_dim", 3, {"head_dim", "found 3", "even"});
  with("hidden_act", "mish", {"config.json", "hidden_act", "'mish'", "silu"});
  with("rope_scaling", Json{{"type", "proportional"}, {"factor", 2}}, {"config.json", "unknown rope type", "proportional", "longrope"});
  with("rope_scaling", Json{{"type", "longrope"}}, {"config.json: rope_scaling.short_factor", "missing"});
  with("rope_scaling", Json{{"type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2, 3}}},
       {"config.json: rope_scaling.long_factor", "a list of 2 numbers above 0"});
  with("rope_scaling", Json{{"type", "linear"}}, {"config.json: rope_scaling.factor", "missing"});
}

TEST(LoadBaseModel, QuantisedWeightsAreRefusedByTheirName) {
  ModelFolder packed;
  packed.tensor(kProjection) = packed.tensor(kProjection).to(at::kChar);
  expect_load_error(packed, {"config.json", "quantised", kProjection, "Char"});
  packed.config()["quantization_config"] = {{"quant_method", "aqlm"}};
  expect_load_error(packed,
                    {"config.json", "quantization_config", "quantised", kProjection, "bitsandbytes, compressed-tensors", "unquantised"});
  ModelFolder plain;  // a leftover of quantisation does not matter for plain weights
  plain.config()["quantization_config"] = {{"quant_method", "gptq"}};
  plain.add("model.layers.0.self_attn.masked", at::ones({2}, at::kBool));
  plain.write();
  EXPECT_FALSE(plain.load().config.contains("quantization_config"));
}

TEST(LoadBaseModel, FaultyWeightsNameTheTensor) {
  ModelFolder missing;
  missing.remove(kProjection);
  expect_load_error(missing, {kProjection, "is missing"});

  ModelFolder no_head;
  no_head.remove("lm_head.weight");
  expect_load_error(no_head, {"lm_head.weight", "is missing"});

  ModelFolder turned;
  turned.tensor("model.layers.0.mlp.up_proj.weight") = at::ones({16, 20});
  expect_load_error(turned, {"model.layers.0.mlp.up_proj.weight", "[16, 20]", "[20, 16]"});

  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    for (const char* name : {kProjection, "model.norm.weight", "model.embed_tokens.weight"}) {
      ModelFolder damaged;
      damaged.tensor(name) = damaged.tensor(name).clone();
      damaged.tensor(name).view(-1)[3] = value;
      expect_load_error(damaged, {name, "not finite"});
    }
  }
}

TEST(FromScratch, IsAFunctionOfTheSeedAndStartsAsTransformersDoes) {
  const Json changes{{"attention_bias", true}, {"mlp_bias", true}};
  const BaseModel one = test::tiny_llama(changes, 5), same = test::tiny_llama(changes, 5), other = test::tiny_llama(changes, 6);
  EXPECT_EQ(one.files.size(), 1U);
  const auto parameters = one.model->base_parameters(), again = same.model->base_parameters(), else_where = other.model->base_parameters();
  ASSERT_EQ(parameters.size(), 3U * 16 + 3);
  double squares = 0, count = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& tensor = parameters[i].tensor;
    test::expect_equal(tensor, again[i].tensor, parameters[i].name);
    if (parameters[i].name.find("norm") != std::string::npos) {
      test::expect_equal(tensor, at::ones_like(tensor), parameters[i].name);
    } else if (parameters[i].name.ends_with(".bias")) {
      test::expect_equal(tensor, at::zeros_like(tensor), parameters[i].name);
    } else {
      EXPECT_FALSE(at::equal(tensor, else_where[i].tensor)) << parameters[i].name;
      EXPECT_NEAR(tensor.std().item<double>(), 0.1, 0.02) << parameters[i].name;
      squares += tensor.square().sum().item<double>();
      count += static_cast<double>(tensor.numel());
    }
  }
  EXPECT_NEAR(std::sqrt(squares / count), 0.1, 0.003);
  // Two weights of the same shape must differ.
  EXPECT_FALSE(at::equal(parameters[1].tensor, parameters[17].tensor));
  const Json no_range{{"initializer_range", nullptr}};
  EXPECT_NEAR(test::tiny_llama(no_range).model->head()->weight().std().item<double>(), 0.02, 0.002);
  EXPECT_EQ(test::tiny_llama(Json{{"torch_dtype", "bfloat16"}}).model->dtype(), at::kBFloat16);
  EXPECT_EQ(test::tiny_llama(Json{{"torch_dtype", nullptr}, {"dtype", "float16"}}).model->dtype(), at::kHalf);
}

TEST(Families, AreListed) {
  EXPECT_EQ(known_families(),
            (std::vector<std::string>{"apertus", "arcee", "bert", "camembert", "distilbert", "exaone4", "falcon", "gemma", "gemma2",
                                      "gemma3_text", "gpt2", "gpt_neox", "granite", "helium", "hunyuan_v1_dense", "internlm3", "llama",
                                      "ministral", "ministral3", "mistral", "mixtral", "modernbert", "nemotron", "olmo2", "olmo3", "phi",
                                      "phi3", "qwen2", "qwen3", "qwen3_moe", "roberta", "seed_oss", "smollm3", "stablelm", "starcoder2",
                                      "xlm-roberta"}));
}

TEST(Families, AnUnknownOneNamesTheNearestAndWhatItLacks) {
  ModelFolder folder;
  const auto with_type = [&](const char* type, const std::vector<std::string>& parts) {
    folder.config()["model_type"] = type;
    expect_load_error(folder, parts);
  };
  with_type("gemma3", {"'gemma3'", "Nearest family: 'gemma3_text'", "image encoder", "text part by itself is model_type gemma3_text"});
  with_type("bitnet", {"'bitnet'", "Nearest family: 'llama'", "norms inside both blocks", "docs/adding-a-model.md"});
  with_type("qwen22", {"'qwen22'", "did you mean 'qwen2'"});
  with_type("rwkv", {"'rwkv'", "expected one of apertus, arcee, bert, camembert", "docs/adding-a-model.md"});
}

}  // namespace
}  // namespace lora::models
