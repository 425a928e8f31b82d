#pragma once
#include <memory>
#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Builds a family's model from config.json, of transformers 4 or 5, and a weight source. Throws model Error for a missing
/// or impossible key.
using BuildFamily = std::unique_ptr<nn::Model>(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options);

BuildFamily make_falcon;    ///< Almazrouei et al. 2023
BuildFamily make_gpt2;      ///< Radford et al. 2019
BuildFamily make_gpt_neox;  ///< Black et al. 2022; Pythia
BuildFamily make_llama;     ///< Touvron et al. 2023; Llama 2, 3, 3.x, SmolLM2, TinyLlama

/// The model's name of a tensor, by its name in a file.
using ModelName = std::string(const std::string& file_name);

ModelName gpt2_model_name;
ModelName gpt_neox_model_name;

}  // namespace lora::models
