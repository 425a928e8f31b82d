#pragma once
#include <memory>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Builds a family's model from config.json, of transformers 4 or 5, and a weight source. Throws model Error for a missing
/// or impossible key.
using BuildFamily = std::unique_ptr<nn::Model>(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options);

BuildFamily make_llama;  ///< Touvron et al. 2023; Llama 2, 3, 3.x, SmolLM2, TinyLlama

}  // namespace lora::models
