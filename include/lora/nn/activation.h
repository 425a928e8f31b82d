#pragma once
#include <string>

#include "lora/ops/activation_kinds.h"

namespace lora::nn {

/// The activation of transformers' ACT2FN name. Throws model Error that lists the known ones.
ops::Activation find_activation(const std::string& name, const std::string& where);

}  // namespace lora::nn
