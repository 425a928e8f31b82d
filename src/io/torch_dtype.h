#pragma once
#include <c10/core/ScalarType.h>

#include <optional>

#include "lora/io/dtype.h"

namespace lora::io {

/// From the format's dtypes to torch's, and back: nullopt for a dtype that the format does not have.
at::ScalarType torch_dtype(Dtype dtype);
std::optional<Dtype> file_dtype(at::ScalarType torch);

}  // namespace lora::io
