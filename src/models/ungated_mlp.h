#pragma once
#include <string>

#include "lora/base/json.h"
#include "models/mlp.h"

namespace lora::models {

/// down_proj(act(up_proj(x))): hidden_size, intermediate_size, and `hidden_act`, squared ReLU if there is no such key.
MlpOptions read_ungated_mlp(const JsonReader& config, bool bias);

}  // namespace lora::models
