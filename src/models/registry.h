#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Builds a family's model from config.json and a weight source.
using FamilyBuilder = std::unique_ptr<nn::Model> (*)(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options);

/// The builder of a `model_type`. Throws model Error that lists the known ones and names the nearest.
FamilyBuilder find_family(const std::string& model_type, const std::string& where);

}  // namespace lora::models
