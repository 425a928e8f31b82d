#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "support/tensors.h"

namespace lora::test {

/// A GGUF file as its bytes say, read by the letter of docs/gguf.md and apart from the writer.
class GgufFile {
 public:
  struct Info {
    std::vector<uint64_t> ne;  ///< the innermost dimension first
    uint32_t type = 0;
    uint64_t offset = 0;  ///< in the data section
  };

  explicit GgufFile(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(stream), {});
    magic = take_text(4);
    version = take<uint32_t>();
    const auto num_tensors = take<uint64_t>();
    const auto num_keys = take<uint64_t>();
    for (uint64_t i = 0; i < num_keys; ++i) {
      const std::string key = take_string();
      read_value(key);
    }
    for (uint64_t i = 0; i < num_tensors; ++i) {
      const std::string name = take_string();
      Info info;
      info.ne.resize(take<uint32_t>());
      for (uint64_t& size : info.ne) {
        size = take<uint64_t>();
      }
      info.type = take<uint32_t>();
      info.offset = take<uint64_t>();
      names.push_back(name);
      infos[name] = info;
    }
    data_offset = (place_ + 31) / 32 * 32;
    size = bytes_.size();
  }

  /// In torch's order of dimensions.
  Tensor tensor(const std::string& name) const {
    const Info& info = infos.at(name);
    const std::map<uint32_t, at::ScalarType> dtypes{{0, at::kFloat}, {1, at::kHalf}, {30, at::kBFloat16}};
    Tensor result = at::empty(std::vector<int64_t>(info.ne.rbegin(), info.ne.rend()), dtypes.at(info.type));
    EXPECT_LE(data_offset + info.offset + result.nbytes(), size) << name;
    std::memcpy(result.mutable_data_ptr(), bytes_.data() + data_offset + info.offset, result.nbytes());
    return result;
  }

  std::string magic;
  uint32_t version = 0;
  std::map<std::string, std::string> texts;
  std::map<std::string, float> floats;
  std::map<std::string, uint32_t> integers;
  std::vector<std::string> names;  ///< in the file's order
  std::map<std::string, Info> infos;
  size_t data_offset = 0;
  size_t size = 0;

 private:
  template <typename Number>
  Number take() {
    Number value{};
    std::memcpy(&value, bytes_.data() + place_, sizeof(Number));
    place_ += sizeof(Number);
    return value;
  }
  std::string take_text(size_t length) {
    place_ += length;
    return bytes_.substr(place_ - length, length);
  }
  std::string take_string() { return take_text(take<uint64_t>()); }
  void read_value(const std::string& key) {
    switch (const auto type = take<uint32_t>(); type) {
      case 4:
        integers[key] = take<uint32_t>();
        break;
      case 6:
        floats[key] = take<float>();
        break;
      case 8:
        texts[key] = take_string();
        break;
      default:
        FAIL() << key << " has type " << type;
    }
  }

  std::string bytes_;
  size_t place_ = 0;
};

}  // namespace lora::test
