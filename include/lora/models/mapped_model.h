#pragma once
#include <filesystem>
#include <memory>

#include "lora/nn/model.h"

namespace lora::models {

/// The model of a folder as its config.json and the headers of its weight files describe it: on the CPU in the stored dtype, with
/// every weight mapped and none read, so that it takes no memory. It serves for names, shapes and hosts; to compute, use
/// load_base_model. Throws model Error for an unknown model_type (lists the known ones), and for a weight that is missing or has
/// another shape than config.json states.
std::unique_ptr<nn::Model> map_model(const std::filesystem::path& folder);

}  // namespace lora::models
