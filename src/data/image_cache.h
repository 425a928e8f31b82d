#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lora::data {

/// Encoded images or captions on disk: one safetensors file for each, named after its key, with a SHA-256 of its content. Files appear
/// whole or not at all, and every process writes the same content to a file, so that several processes may share a folder; what a killed
/// process leaves has another name and is never read.
class ImageCache {
 public:
  explicit ImageCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path file(const std::string& key) const;
  /// Whether the cache holds the whole entry. Warns of a damaged one. Thread-safe.
  bool holds(const std::string& key) const;
  /// Throws output Error.
  void save(const std::string& key, const std::vector<std::pair<std::string, at::Tensor>>& tensors) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace lora::data
