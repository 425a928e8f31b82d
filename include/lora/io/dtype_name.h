#pragma once
#include <c10/core/ScalarType.h>

#include <string>

namespace lora::io {

/// A dtype as configs and flags write it: "bfloat16", where torch's own name is "BFloat16".
std::string dtype_name(c10::ScalarType dtype);

}  // namespace lora::io
