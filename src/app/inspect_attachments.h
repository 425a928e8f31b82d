#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// Describes an adapter that makes no change of weights (prefix tuning, bottleneck adapters): its config and its tensors by shape. Null for
/// any other path.
Json attachment_facts(const std::filesystem::path& path);
/// The same as text.
std::string attachment_text(const Json& facts);

}  // namespace lora::app
