#pragma once
#include "config/table.h"
#include "lora/peft/options.h"

namespace lora::config {

/// Every field of PEFT's LoraConfig, and init_from.
const Table<peft::LoraOptions>& lora_table();

}  // namespace lora::config
