#pragma once
#include <string>

#include "lora/nn/base_weight.h"

namespace lora::peft {

/// Throws config Error if the weight is quantised, so that it can neither be trained nor changed.
/// @param key of the config that asks for it. @param wish what the key asks for. @param remedy a sentence.
void require_unquantised(const nn::BaseWeight& weight, const std::string& key, const std::string& wish, const std::string& remedy);

}  // namespace lora::peft
