#pragma once
#include <string>

#include "lora/ops/activation_kinds.h"

namespace lora::nn {

/// The activation with this name in transformers' ACT2FN. Throws model Error, which lists the known names.
ops::Activation find_activation(const std::string& name, const std::string& where);

}  // namespace lora::nn
