#pragma once
#include "config/table.h"
#include "lora/peft/options.h"

namespace lora::config {

/// loftq_config, an object.
Field<peft::LoraOptions> loftq_field();

}  // namespace lora::config
