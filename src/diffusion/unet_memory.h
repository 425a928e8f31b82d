#pragma once
#include <vector>

#include "diffusion/unet_blocks.h"

namespace lora::diffusion {

/// What a pass through the blocks takes, by places of the latents: each resolution has a fourth of the pixels of the one before.
/// @param down from the finest resolution. @param up from the coarsest.
nn::PassMemory unet_memory(const std::vector<UNetBlock>& down, const UNetBlock& mid, const std::vector<UNetBlock>& up, at::ScalarType dtype,
                           nn::Recompute recompute);

}  // namespace lora::diffusion
