#pragma once
#include "config/table.h"
#include "lora/peft/options.h"

namespace lora::config {

/// adapter.lora_ga_config: the keys of PEFT's LoraGAConfig and the number of batches, or null for their defaults.
Field<peft::LoraOptions> lora_ga_field();

}  // namespace lora::config
