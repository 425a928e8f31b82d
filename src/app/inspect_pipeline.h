#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"
#include "lora/diffusion/pipeline.h"

namespace lora::app {

/// "Stable Diffusion XL".
std::string family_name(const diffusion::Pipeline& pipeline);

/// Describes the folder of a text-to-image pipeline: its components, their sizes, and the modules that LoRA can adapt.
Json pipeline_folder_facts(const std::filesystem::path& folder);
std::string pipeline_folder_text(const Json& facts, bool colour);

}  // namespace lora::app
