#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/models/options.h"
#include "lora/nn/model.h"

namespace lora::models {

/// A base model as loaded: frozen, on its device.
struct BaseModel {
  std::unique_ptr<nn::Model> model;
  Json config;                               ///< config.json as it stands in the folder
  std::string model_type;                    ///< its family's name
  std::vector<std::filesystem::path> files;  ///< config.json and the weights' files (hashes)
  /// The file's names of the weights, where they are not the model's.
  std::map<std::string, std::string> file_names;
  std::string fingerprint;  ///< io::CheckpointSource::fingerprint(); empty from scratch
};

/// Loads the folder of `options`, or makes random weights of its config.json's shape (`from_scratch`, by `seed`).
/// Throws model Error for a folder that is none, an unknown model_type (lists the known), a weight that is missing, has
/// another shape or holds a non-finite value. Weights the family does not know are warned of.
BaseModel load_base_model(const ModelOptions& options, uint64_t seed);

/// The dtype that is asked for; none for auto.
std::optional<at::ScalarType> scalar_type(ComputeDtype dtype);

/// Throws model Error if a model's config.json says that its weights are quantised.
void refuse_quantized(const JsonReader& config);

/// The model_type of every family there is.
std::vector<std::string> known_families();

}  // namespace lora::models
