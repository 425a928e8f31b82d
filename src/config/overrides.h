#pragma once
#include <string>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// Applies one "--set a.b.0.c=value". The value is JSON, or else a string. Missing objects on the path are created; the index after a
/// list's last item appends to it.
void apply_override(Json& document, const std::string& override, Findings& findings);

}  // namespace lora::config
