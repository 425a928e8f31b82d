#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/models/options.h"

namespace lora::app {

/// The index of a pipeline's folder, which names its components.
inline constexpr const char* kPipelineIndex = "model_index.json";

/// Throws config Error for a pipeline in a single file: a fully fine-tuned network is written into the folder of a whole pipeline.
void require_pipeline_folder(const models::ModelOptions& model);

/// Makes `folder`, which holds the network's component, the folder of a whole pipeline: adds the other components of the base as the run
/// used them (its variant, its model.vae, the prediction type of the run), and model_index.json at last.
/// @param network the component that is there already.
void write_other_components(const models::ModelOptions& model, const std::string& network, const std::filesystem::path& folder);

/// model_index.json of a pipeline's folder and the folders that it names, as far as they exist; none without an index.
std::vector<std::filesystem::path> pipeline_parts(const std::filesystem::path& folder);

}  // namespace lora::app
