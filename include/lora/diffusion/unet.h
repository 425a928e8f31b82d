#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::diffusion {

/// The UNet of Stable Diffusion 1, 2 or XL (diffusers' UNet2DConditionModel) as a model with a denoiser. Its modules have diffusers' names.
/// Throws model Error for a config that needs a part which this UNet does not have, and for a missing tensor or one of another shape.
/// @param config the component's config.json. @param where the file, for messages.
/// @param options dtype and device of the weights, and of all that is computed.
nn::Model make_unet(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options);

}  // namespace lora::diffusion
