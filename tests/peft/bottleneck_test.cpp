#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/nn/adapters.h"
#include "lora/nn/bottleneck.h"
#include "lora/nn/tap.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using ::testing::ElementsAre;
using test::expect_error;
using test::tiny_llama;

/// A method with values that change what the model computes.
std::unique_ptr<Method> with_values(const BottleneckOptions& options, const models::BaseModel& base, const std::string& name = "default") {
  auto method = attach_adapter(options, *base.model, "base", 1, name);
  const at::NoGradGuard no_grad;
  for (const nn::Parameter& parameter : method->parameters()) {
    parameter.tensor.add_(0.1);
  }
  return method;
}

std::vector<std::string> parameter_names(const Method& method) {
  std::vector<std::string> names;
  for (const nn::Parameter& parameter : method.parameters()) {
    names.push_back(parameter.name);
  }
  return names;
}

BottleneckOptions from_folder(BottleneckOptions options, const std::filesystem::path& folder) {
  options.init_from = folder;
  return options;
}

TEST(Bottleneck, TheNamedConfigurationsAreTheLibrarys) {
  const BottleneckOptions seq = bottleneck_of(BottleneckKind::kSeqBn), twice = bottleneck_of(BottleneckKind::kDoubleSeqBn),
                          parallel = bottleneck_of(BottleneckKind::kParBn);
  EXPECT_TRUE(!seq.mh_adapter && seq.output_adapter && seq.form.original_ln_before && seq.form.original_ln_after);
  EXPECT_TRUE(twice.mh_adapter && twice.output_adapter && !twice.form.original_ln_before);
  EXPECT_EQ(twice.form.activation, nn::BottleneckActivation::kSilu);
  EXPECT_TRUE(parallel.form.is_parallel && !parallel.mh_adapter);
  EXPECT_EQ(parallel.reduction_factor, 2);
  EXPECT_EQ(parallel.form.scaling, 4.0);
  EXPECT_EQ(parallel.init, BottleneckInit::kMamAdapter);
}

TEST(Bottleneck, SitsWhereTheOptionsSay) {
  const models::BaseModel base = tiny_llama();
  BottleneckOptions options = bottleneck_of(BottleneckKind::kDoubleSeqBn);
  options.leave_out = {0, 2};
  options.reduction_of_layers = {{1, 4}};
  const auto method = attach_adapter(options, *base.model, "base", 1);
  const std::string attention = "model.layers.1.attention_adapters.adapters.default.";
  const std::string output = "model.layers.1.output_adapters.adapters.default.";
  EXPECT_THAT(parameter_names(*method),
              ElementsAre(attention + "adapter_down.0.weight", attention + "adapter_down.0.bias", attention + "adapter_up.weight",
                          attention + "adapter_up.bias", output + "adapter_down.0.weight", output + "adapter_down.0.bias",
                          output + "adapter_up.weight", output + "adapter_up.bias"));
  EXPECT_EQ(method->parameters()[0].tensor.sizes(), (std::vector<int64_t>{4, 16}));
  EXPECT_TRUE(method->parameters()[0].weight_decay && !method->parameters()[1].weight_decay);
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    EXPECT_FALSE(parameter.tensor.requires_grad()) << parameter.name;
  }
  EXPECT_EQ(method->matches().size(), 2U);
  EXPECT_EQ(method->name(), "bottleneck adapter");
}

TEST(Bottleneck, StartsAsAFunctionOfSeedAndName) {
  BottleneckOptions options = bottleneck_of(BottleneckKind::kDoubleSeqBn);
  options.reduction_factor = 0.25;  // wide, for the statistics
  const models::BaseModel first = tiny_llama(), second = tiny_llama(), third = tiny_llama();
  const auto one = attach_adapter(options, *first.model, "base", 1), other = attach_adapter(options, *third.model, "base", 2);
  BottleneckOptions fewer = options;
  fewer.mh_adapter = false;
  const auto same = attach_adapter(fewer, *second.model, "base", 1);
  test::expect_equal(same->parameters()[0].tensor, one->parameters()[4].tensor);
  EXPECT_FALSE(at::equal(other->parameters()[0].tensor, one->parameters()[0].tensor));
  EXPECT_NEAR(one->parameters()[0].tensor.std().item<double>(), 0.02, 0.002);
  EXPECT_EQ(one->parameters()[1].tensor.abs().max().item<double>(), 0.0);

  options.init = BottleneckInit::kMamAdapter;
  const models::BaseModel fourth = tiny_llama();
  const auto parallel = attach_adapter(options, *fourth.model, "base", 1);
  EXPECT_LE(parallel->parameters()[0].tensor.abs().max().item<double>(), 0.25);
  EXPECT_GT(parallel->parameters()[0].tensor.abs().max().item<double>(), 0.24);
  EXPECT_EQ(parallel->parameters()[2].tensor.abs().max().item<double>(), 0.0);

  options.init = BottleneckInit::kHoulsby;
  options.init_weights_seed = 3;
  const models::BaseModel fifth = tiny_llama();
  const auto alike = attach_adapter(options, *fifth.model, "base", 1);
  test::expect_equal(alike->parameters()[0].tensor, alike->parameters()[4].tensor);
  EXPECT_LE(alike->parameters()[0].tensor.abs().max().item<double>(), 0.02);
  EXPECT_NEAR(alike->parameters()[0].tensor.std().item<double>(), 0.0088, 0.0008);  // a normal of 0.01, cut at two deviations
}

TEST(Bottleneck, AFolderOfTheLibraryComesBack) {
  BottleneckOptions options = bottleneck_of(BottleneckKind::kDoubleSeqBn);
  options.ln_before = options.ln_after = true;
  options.scaling = BottleneckScaling::kChannel;
  const models::BaseModel base = tiny_llama();
  const auto method = with_values(options, base);
  const test::TemporaryFolder folder;
  method->save(folder.path());
  EXPECT_EQ(test::files_in(folder.path()), (std::vector<std::string>{"adapter.safetensors", "adapter_config.json"}));
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["version"], "adapters.1.3.0");
  EXPECT_EQ(config["name"], "default");
  EXPECT_EQ(config["hidden_size"], 16);
  EXPECT_EQ(config["config"]["non_linearity"], "swish");
  EXPECT_EQ(config["config"]["scaling"], "channel");
  EXPECT_EQ(config["config"].size(), 33U);
  // The norm before the bottleneck is in a file of the library twice, as in its modules.
  const io::SafetensorsFile file(folder / "adapter.safetensors");
  const std::string place = "model.layers.0.output_adapters.adapters.default.";
  test::expect_equal(file.tensor(place + "adapter_down.0.weight"), file.tensor(place + "adapter_norm_before.weight"));
  EXPECT_TRUE(file.contains(place + "adapter_down.1.weight"));

  const models::BaseModel again = tiny_llama();
  const auto loaded = attach_adapter(from_folder(options, folder.path()), *again.model, "base", 7, "mine");
  test::expect_equal(test::hidden_of(*again.model), test::hidden_of(*base.model));
  const models::BaseModel resumed = tiny_llama();
  const auto same = attach_adapter(options, *resumed.model, "base", 3);
  same->load(folder.path());
  test::expect_equal(test::hidden_of(*resumed.model), test::hidden_of(*base.model));
}

TEST(Bottleneck, SeveralOnOneBaseAreUsedInTurn) {
  const models::BaseModel base = tiny_llama(), alone = tiny_llama();
  const at::Tensor bare = test::hidden_of(*base.model);
  const auto one = with_values(bottleneck_of(BottleneckKind::kSeqBn), base, "one");
  const auto two = with_values(bottleneck_of(BottleneckKind::kParBn), base, "two");
  nn::use_adapter(*base.model, "two");
  const auto same = with_values(bottleneck_of(BottleneckKind::kParBn), alone, "two");
  test::expect_equal(test::hidden_of(*base.model), test::hidden_of(*alone.model));
  nn::use_adapter(*base.model, "");
  test::expect_equal(test::hidden_of(*base.model), bare);
  nn::use_adapter(*base.model, "one");
  EXPECT_FALSE(at::allclose(test::hidden_of(*base.model), bare));
  nn::remove_adapters(*base.model);
  test::expect_equal(test::hidden_of(*base.model), bare);
}

TEST(Bottleneck, NothingIsMergedOrConverted) {
  const models::BaseModel base = tiny_llama();
  const BottleneckOptions options = bottleneck_of(BottleneckKind::kSeqBn);
  const test::TemporaryFolder folder;
  with_values(options, base)->save(folder.path());
  expect_error(ErrorKind::kModel, {"is no change of weights", "BOTTLENECK", "layers that are not linear"},
               [&] { read_adapter(folder.path(), options); });
}

TEST(Bottleneck, PlacesThatTheModelLacksAreErrors) {
  const models::BaseModel base = tiny_llama();
  const auto refused = [&base](const BottleneckOptions& options, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kConfig, parts, [&] { require_matching_targets(options, *base.model); });
  };
  BottleneckOptions options = bottleneck_of(BottleneckKind::kSeqBn);
  options.leave_out = {3};
  refused(options, {"adapter.leave_out", "found 3, expected numbers below 3"});
  options.leave_out = {0, 1, 2};
  refused(options, {"adapter.leave_out", "no layer", "3 layers"});
  options.leave_out = {};
  options.reduction_of_layers = {{5, 2}};
  refused(options, {"adapter.reduction_factor", "found 5"});
  options.reduction_of_layers = {{0, 2}};
  options.has_default_reduction = false;
  expect_error(ErrorKind::kConfig, {"adapter.reduction_factor", "layer 1", "default"},
               [&] { attach_adapter(options, *base.model, "base", 1); });
}

TEST(Bottleneck, EveryFaultOfAFileIsNamed) {
  const BottleneckOptions options = bottleneck_of(BottleneckKind::kSeqBn);
  const models::BaseModel base = tiny_llama();
  const auto method = with_values(options, base);
  const test::TemporaryFolder folder;
  method->save(folder.path());
  const io::SafetensorsFile file(folder / kBottleneckWeightsFile);
  std::vector<io::NamedTensor> good;
  for (const std::string& name : file.names()) {
    good.push_back({name, file.tensor(name).clone()});
  }
  const auto refused = [&](const std::vector<io::NamedTensor>& tensors, const std::vector<std::string>& parts) {
    const test::TemporaryFolder other;
    io::save_tensors(other / kBottleneckWeightsFile, tensors, {});
    expect_error(ErrorKind::kModel, parts, [&] { method->load(other.path()); });
  };
  std::vector<io::NamedTensor> bad = good;
  bad.pop_back();
  refused(bad, {"1 tensor missing", good.back().name});
  bad = good;
  bad.push_back({"model.layers.9.output_adapters.adapters.default.adapter_up.bias", at::ones({16})});
  refused(bad, {"1 tensor outside of this model", "model.layers.9"});
  bad.back().name = "model.layers.0.output_adapters.adapters.other.adapter_up.bias";
  refused(bad, {"holds several adapters", "'other'"});
  bad.back().name = "model.layers.0.self_attn.q_proj.lora_A.weight";
  refused(bad, {"belongs to no bottleneck", "lora_A"});
  bad = good;
  bad[0].tensor = at::ones({3});
  refused(bad, {"of another shape", bad[0].name});
  bad = good;
  bad[0].tensor.fill_(INFINITY);
  refused(bad, {"not finite", bad[0].name});
  const test::TemporaryFolder empty;
  expect_error(ErrorKind::kModel, {"no folder of the adapters library", "adapter.safetensors"}, [&] { method->load(empty.path()); });
  {
    const at::NoGradGuard no_grad;
    method->parameters().front().tensor.fill_(NAN);
  }
  expect_error(ErrorKind::kDiverged, {"not finite"}, [&] { method->save(empty.path()); });
  EXPECT_TRUE(test::files_in(empty.path()).empty());
}

/// The names of the library's forerunner, and a file of the body alone.
TEST(Bottleneck, OlderFilesAreRead) {
  const std::filesystem::path data = std::filesystem::path(test::data_folder());
  models::ModelOptions model;
  model.path = data / "llama" / "tied" / "model";
  model.device = "cpu";
  const std::filesystem::path stored = data / "bottleneck" / "double_llama" / "adapter";
  const models::BaseModel base = models::load_base_model(model, 0);
  BottleneckOptions options = bottleneck_of(BottleneckKind::kDoubleSeqBn);
  options.reduction_factor = 2.5;
  options.reduction_of_layers = {{0, 4}};
  const auto method = attach_adapter(from_folder(options, stored), *base.model, "base", 0);
  const test::TemporaryFolder folder;
  const io::SafetensorsFile file(stored / kBottleneckWeightsFile);
  std::vector<io::NamedTensor> older;
  for (const std::string& name : file.names()) {
    std::string key = name.substr(std::string("model.").size());
    const std::string module = ".adapters.task_one.";
    key.replace(key.find(module), module.size(), ".layer_text_task_adapters.task_one.");
    older.push_back({key, file.tensor(name)});
  }
  io::save_tensors(folder / kBottleneckWeightsFile, older, {});
  const models::BaseModel again = models::load_base_model(model, 0);
  const auto read = attach_adapter(from_folder(options, folder.path()), *again.model, "base", 0);
  test::expect_equal(test::hidden_of(*again.model), test::hidden_of(*base.model));
}

TEST(Bottleneck, WhatItKeepsIsInTheMemoryOfAPass) {
  const models::BaseModel base = tiny_llama(), wider = tiny_llama();
  BottleneckOptions options = bottleneck_of(BottleneckKind::kSeqBn);
  const auto kept = [](const models::BaseModel& base) {
    const nn::PassMemory memory = base.model->body->pass_memory(nn::Recompute::kNothing);
    return memory.kept + memory.tail;
  };
  attach_adapter(options, *base.model, "base", 1);
  options.reduction_factor = 2;  // 8 channels instead of 1
  attach_adapter(options, *wider.model, "base", 1);
  EXPECT_EQ(kept(wider) - kept(base), 3 * 2 * 7 * 4);
}

}  // namespace
}  // namespace lora::peft
