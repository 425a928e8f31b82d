#include "data/image_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/io/tensors.h"

namespace lora::data {
namespace {

constexpr const char* kEntryKey = "key";
constexpr const char* kEntryHash = "sha256";

/// Over names and contents, in the order of the names.
std::string hash_of_tensors(std::vector<std::pair<std::string, at::Tensor>> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    hash.add(name.data(), name.size());
    hash.add(tensor.const_data_ptr(), tensor.nbytes());
  }
  return hash.hexadecimal();
}

void require_whole(const fs::path& path, const std::string& key) {
  const io::SafetensorsFile file(path);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : file.names()) {
    tensors.emplace_back(name, file.tensor(name));
  }
  const auto& metadata = file.metadata();
  const auto is = [&metadata](const char* entry, const std::string& value) {
    const auto found = metadata.find(entry);
    return found != metadata.end() && found->second == value;
  };
  if (!is(kEntryKey, key) || !is(kEntryHash, hash_of_tensors(std::move(tensors)))) {
    data_error(path.string(), "its content has changed");
  }
}

}  // namespace

fs::path ImageCache::file(const std::string& key) const {
  return folder_ / (key + ".safetensors");
}

bool ImageCache::holds(const std::string& key) const {
  const fs::path path = file(key);
  std::error_code error;
  if (!fs::exists(path, error)) {
    return false;
  }
  try {
    require_whole(path, key);
    return true;
  } catch (const Error& damage) {
    log::warn("cannot use what is cached, encoding it again: " + std::string(damage.what()));
    return false;
  }
}

void ImageCache::save(const std::string& key, const std::vector<std::pair<std::string, at::Tensor>>& tensors) const {
  std::vector<std::pair<std::string, at::Tensor>> own;
  std::vector<io::NamedTensor> named;
  for (const auto& [name, tensor] : tensors) {
    own.emplace_back(name, tensor.detach().to(at::kCPU).contiguous());
    named.push_back({name, own.back().second});
  }
  io::save_tensors(file(key), named, {{"format", "lora-train images"}, {kEntryKey, key}, {kEntryHash, hash_of_tensors(own)}});
}

}  // namespace lora::data
