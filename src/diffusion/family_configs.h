#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora::diffusion {

/// The models whose single-file checkpoints are known.
enum class SingleFileModel { kStableDiffusion1, kStableDiffusion2, kStableDiffusionXl };

/// The config of a component as the model's published pipeline has it (huggingface.co: stable-diffusion-v1-5, stable-diffusion-2-1,
/// stable-diffusion-xl-base-1.0), which diffusers uses for a single file too; null if the model has no such component. That of the
/// scheduler has no prediction_type.
Json family_config(SingleFileModel model, const std::string& component);

}  // namespace lora::diffusion
