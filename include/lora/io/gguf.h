#pragma once
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/tensors.h"

namespace lora::io {

/// The GGUF container, version 3 (github.com/ggml-org/ggml, docs/gguf.md): header, key-value pairs, descriptions of the
/// tensors, then the tensors' bytes, each starting at a multiple of kGgufAlignment; everything is little-endian. Goal: files
/// that llama.cpp reads. Non-goals: arrays, quantised types. GgufFile (gguf_file.h) reads the container.

inline constexpr size_t kGgufAlignment = 32;      ///< the format's default, which needs no key
inline constexpr size_t kMaxGgufTensorName = 63;  ///< bytes; ggml refuses longer ones

using GgufValue = std::variant<uint32_t, float, std::string>;
using GgufKeys = std::vector<std::pair<std::string, GgufValue>>;

/// Writes the file atomically, with keys and tensors in the given order. Tensors are float32, float16 or bfloat16 with one to
/// four dimensions, which the file lists in ggml's order (innermost first). Throws output Error for another dtype or shape, a
/// name that is too long, and a duplicate key or name.
void write_gguf(const fs::path& file, const GgufKeys& keys, const std::vector<NamedTensor>& tensors);

}  // namespace lora::io
