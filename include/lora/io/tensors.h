#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/safetensors.h"

namespace lora::io {

using at::Tensor;

/// A tensor with its name in the file.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// One memory-mapped safetensors file. Its tensors share the mapped pages (private and writable: changes stay in this process)
/// and keep the mapping alive. A tensor whose offset is not aligned for its dtype is copied.
class SafetensorsFile {
 public:
  /// Throws model Error (see parse_header).
  explicit SafetensorsFile(const fs::path& file);
  ~SafetensorsFile();

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  /// Throws model Error if there is no such tensor or torch has no such dtype.
  Tensor tensor(const std::string& name) const;
  std::vector<int64_t> shape(const std::string& name) const;
  /// What the header says of the tensor. Throws model Error if there is no such tensor.
  const TensorEntry& entry(const std::string& name) const;
  /// Drops the tensor's pages from memory until it is read again; changes to them are lost (MappedFile::release).
  void release(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Writes tensors (made contiguous, moved to the CPU) as one safetensors file, atomically.
void save_tensors(const fs::path& file, const std::vector<NamedTensor>& tensors,
                  const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace lora::io
