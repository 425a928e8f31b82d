#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::diffusion {

/// The transformer of FLUX.1 (diffusers' FluxTransformer2DModel), as make_network.
nn::Model make_flux_transformer(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options);

}  // namespace lora::diffusion
