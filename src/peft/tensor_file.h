#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/parameter.h"

namespace lora::peft {

/// Throws Error (diverged) naming the first tensor with a NaN or an infinity.
void require_finite(const std::vector<io::NamedTensor>& tensors);

/// Copies into each of `tensors` the file's tensor of its name. Throws model Error listing every name that is missing,
/// surplus, of another shape, or not finite, before anything is copied.
void load_into(const std::filesystem::path& file, const std::vector<io::NamedTensor>& tensors);

}  // namespace lora::peft
