#pragma once
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::app {

/// Renames the modules of an adapter by rules REGEX=REPLACEMENT, one after the other. Its fingerprint is removed, because it then belongs
/// to another base. Throws config Error for an invalid rule, a rule that changes no name, and two modules that get the same name.
void rename_modules(peft::Adapter& adapter, const std::vector<std::string>& rules);

}  // namespace lora::app
