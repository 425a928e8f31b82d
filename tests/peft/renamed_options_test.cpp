// The options of adapters whose modules are renamed.
#include "peft/renamed_options.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "lora/base/json.h"
#include "peft/adapter_config.h"

namespace lora::peft {
namespace {

TEST(RenamedOptions, TheFirstOfTwoPatternsCountsInTheFileToo) {
  LoraOptions options;
  options.alpha_pattern = {{"model.language_model.layers.1.mlp.up_proj", 5}, {"language_model.layers.*up_proj", 7}};
  std::vector<RenamedModule> modules;
  for (const char* layer : {"0", "1"}) {
    modules.push_back(
        {std::string("model.language_model.layers.") + layer + ".mlp.up_proj", std::string("model.layers.") + layer + ".mlp.up_proj"});
  }
  options = renamed_options(std::move(options), modules);
  const Json config = Json::parse(adapter_config_text(options, options.target_modules, "base"));
  EXPECT_EQ(config["alpha_pattern"], Json({{"model.layers.1.mlp.up_proj", 5}, {"model.layers.0.mlp.up_proj", 7}}));
}

}  // namespace
}  // namespace lora::peft
