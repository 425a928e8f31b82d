#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace lora::ops {

/// Whether products of matrices of this dtype are computed on the CPU by oneDNN, which compiles a kernel for each shape and caches it.
bool compiles_products(at::ScalarType dtype);

/// How many of them are cached. Texts of varying lengths keep adding shapes, of which the latest are enough. Every step with images has the
/// same 150 shapes for each size of an image.
constexpr int64_t kProductsOfTexts = 32, kProductsOfImages = 512;

/// Sets that number for the process, before the first product. The first call decides, unless the user has set oneDNN's variable.
void cache_compiled_products(int64_t most);

}  // namespace lora::ops
