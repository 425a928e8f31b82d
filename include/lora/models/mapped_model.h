#pragma once
#include <filesystem>
#include <memory>

#include "lora/nn/model.h"

namespace lora::models {

/// The model of a folder as its config.json and the headers of its weights describe it: on the CPU in the stored dtype,
/// every weight mapped and none looked at, so that it costs no memory. For names, shapes and hosts; load_base_model is
/// for computing. Throws model Error for an unknown model_type (lists the known), and for a weight that is missing or has
/// another shape than config.json says.
std::unique_ptr<nn::Model> map_model(const std::filesystem::path& folder);

}  // namespace lora::models
