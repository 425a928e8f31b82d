#pragma once
#include <string>
#include <vector>

#include "lora/nn/model.h"

namespace lora::peft {

/// The modules that PEFT 0.21 adapts where a config names none, for methods whose default differs from LoRA's (peft/utils/constants.py).
/// Empty: PEFT has none for the family.
struct DefaultTargets {
  std::vector<std::string> ia3;
  std::vector<std::string> ia3_feedforward;
  std::vector<std::string> ln_tuning;
  std::vector<std::string> adalora;
};

/// @param family transformers' model_type (nn::Model::family).
DefaultTargets default_targets_of(const std::string& family);

}  // namespace lora::peft
