#pragma once
#include <c10/core/ScalarType.h>

#include <cstddef>
#include <optional>

#include "lora/io/dtype.h"

namespace lora::io {

/// The limit of torch's iterators.
inline constexpr size_t kMaxDimensions = 64;

/// From the format's dtypes to torch's, and back: nullopt for a dtype that the format does not have.
at::ScalarType torch_dtype(Dtype dtype);
std::optional<Dtype> file_dtype(at::ScalarType torch);

}  // namespace lora::io
