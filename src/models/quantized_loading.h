#pragma once
#include <functional>
#include <string>

#include "lora/io/checkpoint.h"
#include "lora/models/options.h"
#include "lora/quantization/quantizing_source.h"
#include "models/registry.h"

namespace lora::models {

/// Says which weights that the files hold packed are decoded, and maybe quantised again, because the options ask for that.
/// @param dtype that the model computes in.
void say_if_decoded(const io::Checkpoint& files, const ModelOptions& options, at::ScalarType dtype);

/// Reads weights of projections of the options' folder as plain numbers, [out, in] in `dtype`, by the model's names of the tensors. The
/// folder is opened at the first call, and one weight is in memory at a time.
std::function<at::Tensor(const std::string& name)> plain_weights(const ModelOptions& options, const Family& family, at::ScalarType dtype);

}  // namespace lora::models
