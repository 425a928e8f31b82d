#pragma once
#include <c10/core/ScalarType.h>

#include <string>

namespace lora::io {

/// A dtype as configs and flags spell it: "bfloat16" for torch's "BFloat16".
std::string dtype_name(c10::ScalarType dtype);

}  // namespace lora::io
