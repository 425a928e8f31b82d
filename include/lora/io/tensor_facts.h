#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace lora::io {

/// "[2, 3]".
std::string shape_text(at::IntArrayRef shape);

/// Two names and a count, for messages: "a, b … (10 more)".
std::string some_names(const std::vector<std::string>& names);

/// Whether the dtype is float32, float16, bfloat16 or float64, which means that a weight is not quantised.
bool is_plain_float(at::ScalarType dtype);

}  // namespace lora::io
