#pragma once
#include <string>
#include <vector>

// The modules of the code that FLUX.1 (github.com/black-forest-labs/flux) and Stable Diffusion 3 (github.com/Stability-AI/sd3.5) were
// published with, which kohya's tools and ComfyUI name adapters by. Where it has one projection for queries, keys and values, diffusers'
// transformer has several.
namespace lora::peft {

struct OriginalModule {
  std::string name;                ///< "double_blocks.0.img_attn.qkv"
  std::vector<std::string> parts;  ///< diffusers' modules in the order of its outputs: "transformer_blocks.0.attn.to_q", …
};

/// The Linear and Conv2d modules of FLUX.1's transformer, of every number of blocks that is published.
const std::vector<OriginalModule>& flux_modules();

/// Those of Stable Diffusion 3 and 3.5.
const std::vector<OriginalModule>& sd3_modules();

/// The module of that name in either; null: there is none.
const OriginalModule* original_module(const std::string& name);

/// Whether it is a part of one of `modules`.
bool is_part_of(const std::string& module, const std::vector<OriginalModule>& modules);

}  // namespace lora::peft
