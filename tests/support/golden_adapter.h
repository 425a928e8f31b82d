#pragma once
#include <filesystem>
#include <string>

#include "lora/peft/adapter.h"
#include "support/paths.h"

namespace lora::test {

/// A PEFT adapter of tests/data ("llama/gqa/adapter"), with the keys of its config that say what its tensors mean.
inline peft::Adapter golden_adapter(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(lora::test::data_folder()) / name;
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  peft::LoraOptions options;
  options.r = config["r"];
  options.lora_alpha = config["lora_alpha"];
  options.use_rslora = config["use_rslora"];
  options.use_dora = config["use_dora"];
  options.fan_in_fan_out = config["fan_in_fan_out"];
  for (const auto& [key, rank] : config["rank_pattern"].items()) {
    options.rank_pattern.emplace_back(key, rank.get<int64_t>());
  }
  for (const auto& [key, alpha] : config["alpha_pattern"].items()) {
    options.alpha_pattern.emplace_back(key, alpha.get<double>());
  }
  if (config.contains("trainable_token_indices") && config["trainable_token_indices"].is_array()) {
    options.trainable_token_indices = {{"", config["trainable_token_indices"].get<std::vector<int64_t>>()}};
  }
  return peft::read_adapter(folder, options);
}

}  // namespace lora::test
