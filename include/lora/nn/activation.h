#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace lora::nn {

using Activation = at::Tensor (*)(const at::Tensor&);

/// The activation of transformers' ACT2FN name. Throws model Error that lists the known ones.
Activation find_activation(const std::string& name, const std::string& where);

}  // namespace lora::nn
