#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/image/image.h"
#include "support/paths.h"

namespace lora::test {

inline std::filesystem::path image_folder() {
  return kData / "image";
}

inline std::string image_file(const std::string& name) {
  return read_file(image_folder() / name, ErrorKind::kData);
}

inline Json expected_images() {
  return Json::parse(read_file(image_folder() / "expected.json", ErrorKind::kData));
}

inline std::string digest(const image::Image& image) {
  return sha256({reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()});
}

/// SplitMix64 (Steele, Lea and Flood 2014), as in scripts/golden/images.py.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }

 private:
  uint64_t state_;
};

}  // namespace lora::test
