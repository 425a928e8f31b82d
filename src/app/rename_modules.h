#pragma once
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::app {

/// Renames the modules of an adapter by rules REGEX=REPLACEMENT, one after the other, and removes its base model's fingerprint, as it now
/// fits another base model. Throws config Error for a malformed rule, a rule that matches no name, and two modules with the same new name.
void rename_modules(peft::Adapter& adapter, const std::vector<std::string>& rules);

}  // namespace lora::app
