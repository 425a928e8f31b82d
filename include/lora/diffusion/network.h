#pragma once
#include <ATen/core/Tensor.h>

#include "lora/diffusion/pipeline.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::diffusion {

/// The network of a pipeline that removes noise, a UNet or a transformer, as a model with a denoiser. Its modules have diffusers' names.
/// Throws model Error for a `_class_name` that is not known (lists the known ones), for a config that needs a part which the network here
/// does not have, and for a missing tensor or one of another shape.
/// @param component kUnet or kTransformer, as Pipeline::network() says. @param config of that component.
/// @param options dtype and device of the weights, and of all that is computed.
nn::Model make_network(const std::string& component, const ComponentConfig& config, io::WeightSource& source,
                       const at::TensorOptions& options);

}  // namespace lora::diffusion
