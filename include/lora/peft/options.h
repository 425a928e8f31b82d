#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"

namespace lora::peft {

/// How lora_A and lora_B start (PEFT's init_lora_weights).
enum class LoraInit {
  kDefault,   ///< true: A Kaiming-uniform with a = sqrt(5), B zero
  kRandom,    ///< false: A as above, B Kaiming-uniform too (PEFT: "not a no-op, for tests")
  kGaussian,  ///< "gaussian": A ~ N(0, 1/r), B zero
};

/// A choice of modules: PEFT's target_modules and exclude_modules.
struct ModuleChoice {
  enum class Kind { kNone, kList, kRegex, kAllLinear };
  Kind kind = Kind::kNone;
  std::vector<std::string> names;  ///< kList: whole name, or a suffix after a '.'
  std::string regex;               ///< kRegex: matched against the whole name
};

/// The keys of a PEFT LoRA adapter_config.json that we act on; names, meaning and defaults are PEFT's.
struct LoraOptions {
  int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0.0;
  ModuleChoice target_modules;  ///< kNone: the family's default
  ModuleChoice exclude_modules;
  std::optional<std::vector<int64_t>> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  ///< in the file's order: the first match wins
  std::vector<std::pair<std::string, double>> alpha_pattern;
  bool use_rslora = false;
  LoraInit init = LoraInit::kDefault;
  std::optional<std::filesystem::path> init_from;  ///< adapter folder to continue from
  Json config;                                     ///< the section as given, PEFT's keys alone: what adapter_config.json is written from
};

}  // namespace lora::peft
