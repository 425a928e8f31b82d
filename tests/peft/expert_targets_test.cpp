// Targets in a model with experts: PEFT would train the parameters of the experts and of the router directly, which is refused here.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "adapters.h"
#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace lora::peft {
namespace {

using test::default_lora;

models::BaseModel load_golden(const char* name) {
  return test::load_folder(test::Golden(name).folder / "model");
}

void expect_refused(const char* name, const LoraOptions& options, const std::vector<std::string>& parts) {
  const models::BaseModel base = load_golden(name);
  test::expect_error(ErrorKind::kConfig, parts, [&] { attach_adapter(options, *base.model, "base", 0, "mine"); });
}

TEST(ExpertTargets, AreErrorsThatNameTheModule) {
  for (const char* name : {"mixtral", "qwen3_moe"}) {
    expect_refused(name, default_lora({"gate"}), {"adapter.target_modules", "layers.0.mlp.gate", "TopKRouter", "Linear or Embedding"});
    expect_refused(name, default_lora({"experts"}), {"adapter.target_modules", "layers.0.mlp.experts", "Experts"});
    LoraOptions all_linear;
    all_linear.target_modules.kind = ModuleChoice::Kind::kAllLinear;
    expect_refused(name, all_linear, {"adapter.target_modules", "layers.0.mlp.gate", "TopKRouter"});
    LoraOptions saved = default_lora({"q_proj"});
    saved.modules_to_save = {"layers.0.mlp"};
    expect_refused(name, saved, {"adapter.modules_to_save", "layers.0.mlp.experts", "separate tensors in the base's files"});
  }
  expect_refused("mixtral", default_lora({"w1"}), {"adapter.target_modules", "'w1'", "q_proj (2)"});
  LoraOptions nothing;
  expect_refused("qwen3_moe", nothing, {"adapter.target_modules", "no default", "q_proj (3)", "gate_proj (1)"});
}

TEST(ExpertTargets, TheRestRemainsIfTheyAreExcluded) {
  const models::BaseModel base = load_golden("mixtral");
  LoraOptions options;
  options.target_modules.kind = ModuleChoice::Kind::kAllLinear;
  options.exclude_modules = {ModuleChoice::Kind::kList, {"gate", "experts"}, ""};
  EXPECT_EQ(attach_adapter(options, *base.model, "base", 0, "mine")->parameters().size(), 2U * 2 * 4);
}

}  // namespace
}  // namespace lora::peft
