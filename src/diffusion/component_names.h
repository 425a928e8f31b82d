#pragma once
#include <string>

namespace lora::diffusion {

/// The name that today's modules give to a tensor in the folder of a component: with `text_model.` in text encoders, which transformers
/// 5.6 and later leave out, and the names of attention in autoencoders since diffusers 0.18. Empty for a buffer that is no weight.
std::string current_name(const std::string& component, const std::string& stored);

}  // namespace lora::diffusion
