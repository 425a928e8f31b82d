#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/parameter.h"

namespace lora::peft {

/// Throws Error (diverged) naming the first tensor with a NaN or an infinity.
void require_finite(const std::vector<io::NamedTensor>& tensors);

/// Throws model Error if `folder` has no adapter_model.safetensors; one with adapter_model.bin says how to convert.
void require_weights_file(const std::filesystem::path& folder);

/// Copies into each of `tensors` the file's tensor of its name. Throws model Error listing every name that is missing,
/// surplus, of another shape, or not finite, before anything is copied.
/// @param frozen may be in the file too, as these values (in this dtype); another value is an error likewise.
void load_into(const std::filesystem::path& file, const std::vector<io::NamedTensor>& tensors,
               const std::vector<io::NamedTensor>& frozen = {});

}  // namespace lora::peft
