#pragma once
#include <memory>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::models {

/// The Llama family (Touvron et al. 2023; Llama 2, 3, 3.x, SmolLM2, TinyLlama: model_type "llama").
/// @param config config.json, of transformers 4 or 5. Throws model Error for a missing or impossible key.
std::unique_ptr<nn::Model> make_llama(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options);

}  // namespace lora::models
