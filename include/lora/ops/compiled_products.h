#pragma once
#include <c10/core/ScalarType.h>

namespace lora::ops {

/// Whether products of matrices of this dtype are computed on the CPU by oneDNN, which compiles a kernel for each shape and caches it.
bool compiles_products(at::ScalarType dtype);

}  // namespace lora::ops
