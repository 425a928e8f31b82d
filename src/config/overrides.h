#pragma once
#include <string>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// Sets what one "--set a.b.0.c=value" asks for. The value is JSON, or else a string. Objects on the way are made where
/// they are missing; the index after a list's last item appends to it.
void apply_override(Json& document, const std::string& override, Findings& findings);

}  // namespace lora::config
