#pragma once
#include <string>

#include "lora/nn/model.h"

namespace lora::nn {

/// Of everything that is attached to the model's hosts, puts the adapter of this name in use and no other; "": none,
/// the bare model.
void use_adapter(Model& model, const std::string& name);

/// Multiplies the scale of this adapter's low-rank pairs: PEFT's set_scale. To be called before the first pass.
void scale_adapter(Model& model, const std::string& name, double factor);

/// Takes everything off that is attached to the model's hosts.
void remove_adapters(Model& model);

}  // namespace lora::nn
