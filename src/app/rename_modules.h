#pragma once
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::app {

/// Renames the modules of an adapter by rules REGEX=REPLACEMENT, one after the other: it is another base's then, and has no
/// fingerprint. Throws config Error for a rule that is none or matches no name, and for two modules that get one name.
void rename_modules(peft::Adapter& adapter, const std::vector<std::string>& rules);

}  // namespace lora::app
