#pragma once
#include "config/table.h"
#include "lora/models/options.h"

namespace lora::config {

/// model.quantization, an object.
Field<models::ModelOptions> quantization_field();

}  // namespace lora::config
