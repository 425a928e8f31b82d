#pragma once
#include <string>

#include "config/findings.h"

namespace lora::config {

/// Reports `pattern` if it is not a valid regular expression.
void check_regex(const std::string& pattern, const ConfigPlace& at);

}  // namespace lora::config
