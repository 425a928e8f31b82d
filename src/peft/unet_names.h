#pragma once
#include <string>
#include <vector>

// The names of the modules that LoRA adapts in Stable Diffusion 1, 2 and XL, without a model. File formats write them with underscores for
// dots, which cannot be reversed by itself.
namespace lora::peft {

/// The Linear and Conv2d modules of diffusers' UNet2DConditionModel: of every number of blocks, layers and transformer blocks that these
/// families have.
const std::vector<std::string>& unet_modules();

/// The name of a UNet's module in the code that SDXL was trained with ("input_blocks.4.1.proj_in"), where the layers of all
/// blocks are numbered consecutively; empty: it has none.
std::string original_unet_name(const std::string& module);

/// The Linear modules of CLIP's text model.
const std::vector<std::string>& clip_text_modules();

}  // namespace lora::peft
