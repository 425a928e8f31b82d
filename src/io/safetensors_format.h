#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lora::io {

/// What the reader and the writer of the format share.

inline constexpr size_t kLengthBytes = 8;                 ///< little-endian length of the header
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  ///< the reference implementation's limit
inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";  ///< of a folder with several files

/// The product of `shape` and `element_bytes`, or nullopt if a size is negative or if the product or a stride exceeds int64.
std::optional<int64_t> byte_count(const std::vector<int64_t>& shape, int64_t element_bytes);

}  // namespace lora::io
