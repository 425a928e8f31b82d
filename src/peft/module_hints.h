#pragma once
#include <string>
#include <vector>

namespace lora::peft {

/// " Did you mean 'q_proj'?" for a name that no module has: the model's name for a module that another family calls so, or else the name
/// with the nearest spelling; "" if there is neither.
/// @param names last parts of the model's module names.
std::string module_hint(const std::string& name, const std::vector<std::string>& names);

}  // namespace lora::peft
