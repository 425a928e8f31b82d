#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/file.h"

namespace lora::io {

using at::Tensor;

/// How ggml stores numbers: in blocks of `elements` along the innermost dimension, each of `bytes`.
struct GgufType {
  const char* name;
  uint32_t id;
  int64_t elements;
  int64_t bytes;
};

/// A tensor of a GGUF file. Its bytes lie in one of the file's parts.
struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  ///< in torch's order, outermost first
  const GgufType* type = nullptr;
  size_t part = 0;
  size_t begin = 0;  ///< in bytes from the start of the part
  size_t bytes = 0;
};

/// A memory-mapped model in the GGUF container (github.com/ggml-org/ggml, docs/gguf.md), version 2 or 3, little-endian; with all its
/// parts if it is split into files "…-00001-of-0000N.gguf". Every count, length and offset is checked before it is used, so that a
/// damaged file costs no more memory than a small multiple of its size. Every function throws model Error that names the file and the
/// key or tensor.
class GgufFile {
 public:
  /// @param file for a split model its first part.
  explicit GgufFile(const fs::path& file);
  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const fs::path& path() const { return path_; }
  /// All parts.
  std::vector<fs::path> files() const;

  // Metadata. A value of another type than the function gives, and a missing key without fallback, are errors.
  bool has(const std::string& key) const;
  std::string text(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  int64_t integer(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t fallback) const;
  double number(const std::string& key) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  /// The length of an array; 0 if there is no such key.
  int64_t length(const std::string& key) const;
  /// The strings of an array; views into the mapped file.
  std::vector<std::string_view> texts(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<float> floats(const std::string& key) const;
  bool is_array(const std::string& key) const;
  /// Throws "[file: key] found …, expected `expected`".
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;

  /// In the order of the files.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// The tensor's bytes as uint8 [bytes]. They share the mapped pages and keep the mapping alive.
  Tensor bytes(const GgufTensor& tensor) const;
  void release(const GgufTensor& tensor) const;

 private:
  struct Value {
    uint32_t type = 0;
    uint32_t element = 0;    ///< of an array
    uint64_t count = 0;      ///< of an array
    std::string_view bytes;  ///< without the length of a string
  };
  class Parser;

  void open_parts();
  const Value& value(const std::string& key) const;

  fs::path path_;
  std::vector<std::shared_ptr<MappedFile>> parts_;
  std::map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
};

/// Whether a file begins as GGUF does.
bool is_gguf(const fs::path& file);

}  // namespace lora::io
