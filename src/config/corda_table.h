#pragma once
#include "config/table.h"
#include "lora/peft/options.h"

namespace lora::config {

/// adapter.corda_config: the keys of PEFT's CordaConfig and the number of documents, or null for their defaults.
Field<peft::LoraOptions> corda_field();

}  // namespace lora::config
