#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

namespace lora::models {

/// The labels of the head that scores documents in a model's folder; none: it has no such head. Throws model Error if the folder
/// cannot be read.
std::optional<int64_t> read_stored_labels(const std::filesystem::path& folder);

}  // namespace lora::models
