#pragma once
#include "config/table.h"
#include "lora/peft/options.h"

namespace lora::config {

/// adapter.eva_config: the keys of PEFT's EvaConfig, or null for their defaults.
Field<peft::LoraOptions> eva_field();

}  // namespace lora::config
