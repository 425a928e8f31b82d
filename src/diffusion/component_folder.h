#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "lora/diffusion/pipeline.h"
#include "lora/io/checkpoint.h"

namespace lora::diffusion {

/// The folder of one component in diffusers' layout.
struct ComponentFolder {
  std::filesystem::path path;
  std::string name;     ///< "unet", "text_encoder_2", …
  std::string variant;  ///< the requested one; empty: none
};

/// Its config.json; scheduler_config.json of a scheduler.
std::filesystem::path config_file(const ComponentFolder& folder);

/// Reads that file. Throws model Error if it is missing or no object.
ComponentConfig read_component_config(const ComponentFolder& folder);

/// Opens its weights, under the names of today's modules: the requested variant, otherwise the plain file, otherwise the only variant.
/// Throws model Error if there are none (for pickled ones with what to do) or several variants, and as SafetensorsCheckpoint does.
std::unique_ptr<io::Checkpoint> open_component_weights(const ComponentFolder& folder);

}  // namespace lora::diffusion
