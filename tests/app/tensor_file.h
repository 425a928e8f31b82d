#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "process.h"

namespace lora::test {

/// A tensor of a safetensors file, read without torch.
struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;

  bool operator==(const StoredTensor&) const = default;
  /// The values of an F32 tensor.
  std::vector<float> values() const {
    std::vector<float> result(bytes.size() / sizeof(float));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
};

/// Every tensor of the folder's safetensors files.
inline std::map<std::string, StoredTensor> stored_tensors(const std::filesystem::path& folder) {
  std::map<std::string, StoredTensor> tensors;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") {
      continue;
    }
    const std::string file = read_text(entry.path());
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof(length));
    const size_t data = sizeof(length) + length;
    const Json header = Json::parse(file.substr(sizeof(length), length));
    for (const auto& [name, value] : header.items()) {
      if (name != "__metadata__") {
        const auto begin = value["data_offsets"][0].get<size_t>();
        const auto end = value["data_offsets"][1].get<size_t>();
        tensors[name] = {value["dtype"], value["shape"], file.substr(data + begin, end - begin)};
      }
    }
  }
  return tensors;
}

/// The largest difference of two F32 tensors; infinite if their shapes or dtypes differ.
inline double largest_difference(const StoredTensor& a, const StoredTensor& b) {
  if (a.dtype != "F32" || b.dtype != "F32" || a.shape != b.shape) {
    return INFINITY;
  }
  const std::vector<float> x = a.values();
  const std::vector<float> y = b.values();
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])));
  }
  return largest;
}

}  // namespace lora::test
