#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/method.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using Kind = ModuleChoice::Kind;
using test::expect_equal;
using test::expect_error;
using test::small_lora;
using test::TemporaryFolder;
using test::tiny_llama;

LoraOptions all_linear() {
  LoraOptions options = small_lora({});
  options.target_modules.kind = Kind::kAllLinear;
  return options;
}

nn::Linear& host(nn::Model& model, const std::string& name) {
  for (nn::Host* host : model.hosts()) {
    if (host->name() == name) {
      return dynamic_cast<nn::Linear&>(*host);
    }
  }
  throw std::out_of_range(name);
}

bool is_a(const nn::Parameter& parameter) {
  return parameter.name.ends_with(".lora_A.weight");
}

TEST(Lora, TrainsOnlyTheAdapter) {
  const models::BaseModel base = tiny_llama();
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    parameter.tensor.set_requires_grad(true);
  }
  const auto method = attach_adapter(small_lora({"q_proj", "down_proj"}), *base.model, "base", 1);
  EXPECT_EQ(method->name(), "LoRA");
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    EXPECT_FALSE(parameter.tensor.requires_grad()) << parameter.name;
  }
  const auto& parameters = method->parameters();
  ASSERT_EQ(parameters.size(), 3U * 2 * 2);
  EXPECT_EQ(parameters[0].name, "model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(parameters[1].name, "model.layers.0.self_attn.q_proj.lora_B.weight");
  EXPECT_EQ(parameters[2].name, "model.layers.0.mlp.down_proj.lora_A.weight");
  int64_t count = 0;
  for (const nn::Parameter& parameter : parameters) {
    EXPECT_TRUE(parameter.tensor.requires_grad() && parameter.tensor.is_leaf());
    EXPECT_TRUE(parameter.weight_decay);
    count += parameter.tensor.numel();
  }
  EXPECT_EQ(count, 3 * 4 * ((16 + 16) + (20 + 16)));  // layers · r · Σ (in + out)

  // A pass gives every parameter a gradient, and no base weight. The gradient of A is zero because B is zero; that of B is not.
  const nn::Batch batch = test::batch_of(test::documents_of({5, 3}, 50));
  base.model->body->hidden(nn::evaluation_pass(batch)).square().sum().backward();
  for (const nn::Parameter& parameter : parameters) {
    ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    EXPECT_EQ(parameter.tensor.grad().abs().max().item<double>() > 0, !is_a(parameter)) << parameter.name;
  }
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    EXPECT_FALSE(parameter.tensor.grad().defined()) << parameter.name;
  }
}

TEST(Lora, RanksAndScalesFollowThePatterns) {
  LoraOptions options = small_lora({"q_proj", "v_proj", "down_proj"});
  options.rank_pattern = {{"q_proj", 2}, {"layers.1.self_attn.q_proj", 7}, {"layers.2.*", 5}};
  options.alpha_pattern = {{"v_proj", 9.0}};
  for (const bool rslora : {false, true}) {
    options.use_rslora = rslora;
    const models::BaseModel base = tiny_llama();
    const auto method = attach_adapter(options, *base.model, "base", 1);
    const auto check = [&](const std::string& name, int64_t r, double alpha) {
      const nn::LowRank& attached = *host(*base.model, name).attached<nn::LowRank>().at(0);
      EXPECT_EQ(attached.A_RI.sizes(), at::IntArrayRef({r, host(*base.model, name).in_features()})) << name;
      EXPECT_EQ(attached.B_OR.sizes(), at::IntArrayRef({host(*base.model, name).out_features(), r})) << name;
      EXPECT_DOUBLE_EQ(attached.scale, alpha / (rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r))) << name;
    };
    check("model.layers.0.self_attn.q_proj", 2, 6);
    check("model.layers.1.self_attn.q_proj", 2, 6);  // the first key that matches, not the longest
    check("model.layers.1.self_attn.v_proj", 4, 9);
    check("model.layers.2.self_attn.v_proj", 5, 9);
    check("model.layers.2.mlp.down_proj", 5, 6);
  }
}

TEST(Lora, DropoutReachesTheHost) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = small_lora({"q_proj"});
  options.lora_dropout = 0.25;
  const auto method = attach_adapter(options, *base.model, "base", 1);
  EXPECT_EQ(host(*base.model, "model.layers.2.self_attn.q_proj").attached<nn::LowRank>().at(0)->dropout, 0.25);
}

TEST(LoraInit, DefaultIsKaimingUniformWithBZero) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_adapter(all_linear(), *base.model, "base", 1);
  for (const nn::Parameter& parameter : method->parameters()) {
    if (!is_a(parameter)) {
      EXPECT_EQ(parameter.tensor.abs().max().item<double>(), 0.0) << parameter.name;
      continue;
    }
    const double bound = 1.0 / std::sqrt(static_cast<double>(parameter.tensor.size(1)));
    EXPECT_LE(parameter.tensor.abs().max().item<double>(), bound) << parameter.name;
    EXPECT_GE(parameter.tensor.abs().max().item<double>(), 0.85 * bound) << parameter.name;
    EXPECT_NEAR(parameter.tensor.std().item<double>(), bound / std::sqrt(3.0), 0.25 * bound) << parameter.name;
  }
}

TEST(LoraInit, GaussianHasStandardDeviationOneByR) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = all_linear();
  options.init = LoraInit::kGaussian;
  const auto method = attach_adapter(options, *base.model, "base", 1);
  std::vector<at::Tensor> all;
  for (const nn::Parameter& parameter : method->parameters()) {
    if (is_a(parameter)) {
      all.push_back(parameter.tensor.detach().flatten());
    } else {
      EXPECT_EQ(parameter.tensor.abs().max().item<double>(), 0.0);
    }
  }
  const at::Tensor values = at::cat(all);
  EXPECT_NEAR(values.std().item<double>(), 0.25, 0.02);
  EXPECT_NEAR(values.mean().item<double>(), 0.0, 0.02);
  EXPECT_GT(values.abs().max().item<double>(), 0.5);  // larger than any value of the uniform distribution
}

TEST(LoraInit, FalseInitialisesBToo) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = all_linear();
  options.init = LoraInit::kRandom;
  const auto method = attach_adapter(options, *base.model, "base", 1);
  for (const nn::Parameter& parameter : method->parameters()) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(parameter.tensor.size(1)));
    EXPECT_LE(parameter.tensor.abs().max().item<double>(), bound) << parameter.name;
    EXPECT_GE(parameter.tensor.abs().max().item<double>(), 0.85 * bound) << parameter.name;
  }
}

TEST(LoraInit, IsAFunctionOfSeedAndName) {
  const models::BaseModel first = tiny_llama(), second = tiny_llama(), third = tiny_llama();
  const auto one = attach_adapter(small_lora({"q_proj", "v_proj", "k_proj"}), *first.model, "base", 1);
  const auto fewer = attach_adapter(small_lora({"v_proj"}), *second.model, "base", 1);
  const auto other = attach_adapter(small_lora({"v_proj"}), *third.model, "base", 2);
  std::set<double> firsts;
  for (const nn::Parameter& parameter : one->parameters()) {
    if (is_a(parameter)) {
      firsts.insert(parameter.tensor.view(-1)[0].item<double>());
    }
  }
  EXPECT_EQ(firsts.size(), 9U);  // different numbers for each name
  for (size_t i = 0; i < fewer->parameters().size(); ++i) {
    const nn::Parameter& parameter = fewer->parameters()[i];
    const auto same =
        std::find_if(one->parameters().begin(), one->parameters().end(), [&](const nn::Parameter& p) { return p.name == parameter.name; });
    expect_equal(parameter.tensor.detach(), same->tensor.detach(), parameter.name);  // independent of the other targets
    EXPECT_EQ(at::equal(parameter.tensor, other->parameters()[i].tensor), !is_a(parameter)) << parameter.name;
  }
}

TEST(LoraFile, HoldsPeftsKeysAndLoadsBackBitForBit) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = small_lora({"q_proj", "lm_head"});
  options.init = LoraInit::kRandom;
  const auto method = attach_adapter(options, *base.model, "base", 1);
  const TemporaryFolder folder;
  method->save(folder.path());
  EXPECT_EQ(test::files_in(folder.path()), (std::vector<std::string>{"adapter_config.json", "adapter_model.safetensors"}));
  EXPECT_EQ(method->weights_file(), "adapter_model.safetensors");
  const io::SafetensorsFile file(folder / "adapter_model.safetensors");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(file.names().size(), 8U);
  EXPECT_EQ(file.shape("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"), (std::vector<int64_t>{4, 16}));
  EXPECT_EQ(file.shape("base_model.model.lm_head.lora_B.weight"), (std::vector<int64_t>{50, 4}));
  for (const nn::Parameter& parameter : method->parameters()) {
    expect_equal(file.tensor("base_model.model." + parameter.name), parameter.tensor.detach(), parameter.name);
  }

  const models::BaseModel again = tiny_llama();
  const auto loaded = attach_adapter(small_lora({"q_proj", "lm_head"}), *again.model, "base", 2);
  loaded->load(folder.path());
  LoraOptions continued = small_lora({"q_proj", "lm_head"});
  continued.init_from = folder.path();
  const models::BaseModel third = tiny_llama();
  const auto started = attach_adapter(continued, *third.model, "base", 3);
  for (size_t i = 0; i < method->parameters().size(); ++i) {
    expect_equal(loaded->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach());
    expect_equal(started->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach());
    EXPECT_TRUE(started->parameters()[i].tensor.requires_grad());
  }
  // The host uses the loaded values.
  expect_equal(host(*again.model, "lm_head").attached<nn::LowRank>().at(0)->A_RI.detach(),
               host(*base.model, "lm_head").attached<nn::LowRank>().at(0)->A_RI.detach());
}

TEST(LoraFile, LoadingEndsWhatEvaluationKeptOfDora) {
  LoraOptions options = small_lora({"q_proj"});
  options.use_dora = true;
  options.init = LoraInit::kRandom;
  const models::BaseModel base = tiny_llama(), again = tiny_llama();
  const auto method = attach_adapter(options, *base.model, "base", 1), loaded = attach_adapter(options, *again.model, "base", 2);
  const TemporaryFolder folder;
  method->save(folder.path());
  const nn::Batch batch = test::batch_of(test::documents_of({5, 3}, 50));
  const at::NoGradGuard no_grad;
  const at::Tensor before = again.model->body->hidden(nn::evaluation_pass(batch));
  loaded->load(folder.path());
  const at::Tensor after = again.model->body->hidden(nn::evaluation_pass(batch));
  expect_equal(after, base.model->body->hidden(nn::evaluation_pass(batch)));
  EXPECT_FALSE(at::equal(after, before));
}

TEST(LoraFile, AdapterConfigEqualsPefts) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = small_lora({"v_proj", "q_proj"});
  options.lora_alpha = 6.5;
  options.lora_dropout = 0.05;
  options.exclude_modules = {Kind::kRegex, {}, R"(.*layers\.0\..*)"};
  options.layers_to_transform = {1, 2};
  options.layers_pattern = {"layers"};
  options.rank_pattern = {{"q_proj", 3}, {"layers.1.self_attn.q_proj", 2}};  // not in alphabetical order, because the first match counts
  options.alpha_pattern = {{"v_proj", 16.0}, {"q_proj", 0.5}};
  options.use_rslora = true;
  options.init = LoraInit::kGaussian;
  options.config = Json::parse(R"({"r": 99, "task_type": "CAUSAL_LM", "peft_version": "0.21.2", "base_model_name_or_path": "somewhere/else",
                                   "inference_mode": false, "megatron_config": null, "loftq_config": {}})");
  const auto method = attach_adapter(options, *base.model, "org/name", 1);
  const TemporaryFolder folder;
  method->save(folder.path());
  EXPECT_EQ(read_file(folder / "adapter_config.json", ErrorKind::kModel), R"({
  "alpha_pattern": {
    "v_proj": 16,
    "q_proj": 0.5
  },
  "auto_mapping": null,
  "base_model_name_or_path": "org/name",
  "bias": "none",
  "exclude_modules": ".*layers\\.0\\..*",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": "gaussian",
  "layers_pattern": [
    "layers"
  ],
  "layers_to_transform": [
    1,
    2
  ],
  "loftq_config": {},
  "lora_alpha": 6.5,
  "lora_dropout": 0.05,
  "modules_to_save": null,
  "peft_type": "LORA",
  "peft_version": "0.21.2",
  "r": 4,
  "rank_pattern": {
    "q_proj": 3,
    "layers.1.self_attn.q_proj": 2
  },
  "revision": null,
  "target_modules": [
    "v_proj",
    "q_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": true
}
)");
}

TEST(LoraFile, AdapterConfigOfDefaultsAndOfAllLinear) {
  const TemporaryFolder folder;
  const auto written = [&](const LoraOptions& options) {
    const models::BaseModel base = tiny_llama();
    attach_adapter(options, *base.model, "base", 1)->save(folder.path());
    return read_json(folder / "adapter_config.json", ErrorKind::kModel);
  };
  const Json defaults = written(LoraOptions());
  EXPECT_EQ(defaults["target_modules"], Json({"q_proj", "v_proj"}));
  EXPECT_EQ(defaults["r"], 8);
  EXPECT_EQ(defaults["lora_alpha"].dump(), "8");
  EXPECT_EQ(defaults["init_lora_weights"], true);
  EXPECT_TRUE(defaults["exclude_modules"].is_null() && defaults["layers_to_transform"].is_null());
  EXPECT_EQ(defaults["rank_pattern"], Json::object());
  LoraOptions options = all_linear();
  options.init = LoraInit::kRandom;
  const Json all = written(options);
  EXPECT_EQ(all["target_modules"], Json({"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
  EXPECT_EQ(all["init_lora_weights"], false);
  options.target_modules = {Kind::kRegex, {}, R"(.*\.q_proj)"};
  EXPECT_EQ(written(options)["target_modules"], R"(.*\.q_proj)");
}

TEST(LoraFile, MismatchesAreListedAndNothingIsLoaded) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_adapter(small_lora({"q_proj"}), *base.model, "base", 1);
  const at::Tensor before = method->parameters()[0].tensor.detach().clone();
  std::vector<io::NamedTensor> tensors;
  for (const nn::Parameter& parameter : method->parameters()) {
    tensors.push_back({"base_model.model." + parameter.name, parameter.tensor.detach() + 1});
  }
  const std::string lost = method->parameters()[3].name;
  tensors[3] = {"base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight", at::ones({2})};
  tensors[4].tensor = at::ones({5, 16});
  const TemporaryFolder folder;
  io::save_tensors(folder / "adapter_model.safetensors", tensors);
  expect_error(ErrorKind::kModel,
               {"adapter_model.safetensors", "1 tensor missing: " + lost, "layers.9.self_attn.q_proj.lora_B.weight",
                method->parameters()[4].name + " [5, 16] instead of [4, 16]"},
               [&] { method->load(folder.path()); });
  expect_equal(method->parameters()[0].tensor.detach(), before, "a parameter changed although the file does not fit");
}

TEST(LoraFile, OtherFoldersAreModelErrors) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_adapter(small_lora({"q_proj"}), *base.model, "base", 1);
  const TemporaryFolder folder;
  expect_error(ErrorKind::kModel, {"not an adapter folder", "adapter_model.safetensors"}, [&] { method->load(folder.path()); });
  folder.write("adapter_model.bin", "x");
  expect_error(ErrorKind::kModel, {"adapter_model.bin", "not a file written by torch.save"}, [&] { method->load(folder.path()); });
  folder.write("adapter_model.safetensors", "broken");
  expect_error(ErrorKind::kModel, {"adapter_model.safetensors"}, [&] { method->load(folder.path()); });
}

TEST(LoraFile, NonFiniteValuesAreNotWritten) {
  for (const double value : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    const models::BaseModel base = tiny_llama();
    const auto method = attach_adapter(small_lora({"q_proj"}), *base.model, "base", 1);
    {
      const at::NoGradGuard no_grad;
      method->parameters()[3].tensor.view(-1)[5] = value;
    }
    const TemporaryFolder folder;
    expect_error(ErrorKind::kDiverged, {method->parameters()[3].name, "not finite", "nothing was written"},
                 [&] { method->save(folder.path()); });
    EXPECT_TRUE(test::files_in(folder.path()).empty());
  }
}

}  // namespace
}  // namespace lora::peft
