#pragma once
#include <string>

#include "lora/nn/model.h"

namespace lora::nn {

/// Makes the adapter of this name the only one in use on the model's hosts and taps; "": none, the bare model.
void use_adapter(Model& model, const std::string& name);

/// Multiplies the scale of this adapter's low-rank pairs, as PEFT's set_scale does.
void scale_adapter(Model& model, const std::string& name, double factor);

/// Removes everything that is attached to the model's hosts and taps.
void remove_adapters(Model& model);

}  // namespace lora::nn
