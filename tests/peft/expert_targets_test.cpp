// Targets in a model with experts: PEFT would train the parameters of the experts and of the router directly, which is refused here.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace lora::peft {
namespace {

models::BaseModel load(const char* name) {
  models::ModelOptions options;
  options.path = test::Golden(name).folder / "model";
  options.device = "cpu";
  return models::load_base_model(options, 0);
}

LoraOptions options_of(const std::vector<std::string>& names) {
  LoraOptions options;
  options.target_modules = {ModuleChoice::Kind::kList, names, ""};
  return options;
}

void expect_refused(const char* name, const LoraOptions& options, const std::vector<std::string>& parts) {
  const models::BaseModel base = load(name);
  test::expect_error(ErrorKind::kConfig, parts, [&] { attach_adapter(options, *base.model, "base", 0, "mine"); });
}

TEST(ExpertTargets, AreErrorsThatNameTheModule) {
  for (const char* name : {"mixtral", "qwen3_moe"}) {
    expect_refused(name, options_of({"gate"}), {"adapter.target_modules", "layers.0.mlp.gate", "TopKRouter", "Linear or Embedding"});
    expect_refused(name, options_of({"experts"}), {"adapter.target_modules", "layers.0.mlp.experts", "Experts"});
    LoraOptions all_linear;
    all_linear.target_modules.kind = ModuleChoice::Kind::kAllLinear;
    expect_refused(name, all_linear, {"adapter.target_modules", "layers.0.mlp.gate", "TopKRouter"});
    LoraOptions saved = options_of({"q_proj"});
    saved.modules_to_save = {"layers.0.mlp"};
    expect_refused(name, saved, {"adapter.modules_to_save", "layers.0.mlp.experts", "separate tensors in the base's files"});
  }
  expect_refused("mixtral", options_of({"w1"}), {"adapter.target_modules", "'w1'", "q_proj (2)"});
  LoraOptions nothing;
  expect_refused("qwen3_moe", nothing, {"adapter.target_modules", "no default", "q_proj (3)", "gate_proj (1)"});
}

TEST(ExpertTargets, TheRestRemainsIfTheyAreExcluded) {
  const models::BaseModel base = load("mixtral");
  LoraOptions options;
  options.target_modules.kind = ModuleChoice::Kind::kAllLinear;
  options.exclude_modules = {ModuleChoice::Kind::kList, {"gate", "experts"}, ""};
  EXPECT_EQ(attach_adapter(options, *base.model, "base", 0, "mine")->parameters().size(), 2U * 2 * 4);
}

}  // namespace
}  // namespace lora::peft
