#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/dtype.h"

namespace lora::io {

/// What reader and writer of the format share.

inline constexpr size_t kLengthBytes = 8;                 ///< little-endian length of the header
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  ///< the reference implementation's limit
inline constexpr std::string_view kMetadataKey = "__metadata__";

/// The product of `shape` and `element_bytes`, or nullopt if a size is negative, or if it (or a stride) exceeds int64.
std::optional<int64_t> byte_count(const std::vector<int64_t>& shape, int64_t element_bytes);

/// A tensor to write whose bytes are made when their turn comes, so that no two copies need to be in memory at once.
struct TensorWriter {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::function<void(const Append&)> produce;  ///< appends exactly the bytes that shape and dtype say
};

/// As write_safetensors, for tensors produced one after the other, in the order of the file.
void write_safetensors(const fs::path& file, std::vector<TensorWriter> tensors, const std::map<std::string, std::string>& metadata);

}  // namespace lora::io
