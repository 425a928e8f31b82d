#pragma once
#include <string>

#include "lora/base/json.h"
#include "lora/peft/adapter.h"

namespace lora::app {

/// The modules that a formula changes (IA3, LoHa, OFT, …), each with its tensors, their shapes and Frobenius norms.
Json formula_modules(const peft::Adapter& adapter);

/// The table of formula_modules().
std::string formula_text(const Json& modules);

}  // namespace lora::app
