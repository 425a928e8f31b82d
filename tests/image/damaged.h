#pragma once
#include <zlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "image/samples.h"

namespace lora::test {

struct DamagedImage {
  std::string name;  ///< of the source
  std::string bytes;
};

/// Makes damaged images from the sources of tests/data/image, the same as damaged() in scripts/golden/images.py.
class ImageDamage {
 public:
  ImageDamage() {
    for (const auto& entry : std::filesystem::directory_iterator(image_folder())) {
      if (entry.path().extension() != ".json") {
        names_.push_back(entry.path().filename().string());
      }
    }
    std::sort(names_.begin(), names_.end());
  }

  DamagedImage make(uint64_t number) const {
    SplitMix random(number);
    DamagedImage image;
    image.name = names_.at(number % names_.size());
    image.bytes = image_file(image.name);
    change(image.bytes, random);
    if (image.name.ends_with(".png") && random.below(2) == 1) {
      correct_checksums(image.bytes);
    }
    return image;
  }

 private:
  static std::string random_bytes(SplitMix& random, uint64_t count) {
    std::string bytes;
    for (uint64_t i = 0; i < count; ++i) {
      bytes.push_back(static_cast<char>(random.next()));
    }
    return bytes;
  }

  static void change(std::string& bytes, SplitMix& random) {
    const bool near_start = random.below(2) == 1;
    const auto place = [&] { return random.below(near_start ? std::min<uint64_t>(bytes.size(), 64) : bytes.size()); };
    const uint64_t kind = random.below(6);
    if (kind == 0) {
      for (uint64_t left = 1 + random.below(4); left > 0; --left) {
        const uint64_t at = place();
        bytes[at] = static_cast<char>(random.next());
      }
    } else if (kind == 1) {
      bytes.resize(random.below(bytes.size()));
    } else if (kind == 2) {
      const uint64_t at = place();
      const uint64_t count = std::min(1 + random.below(32), bytes.size() - at);
      bytes.replace(at, count, count, '\0');
    } else if (kind == 3) {
      const uint64_t at = place();
      bytes.insert(at, random_bytes(random, 1 + random.below(8)));
    } else if (kind == 4) {
      const uint64_t at = place();
      bytes.erase(at, 1 + random.below(8));
    } else {
      const uint64_t start = place();
      const uint64_t at = place();
      const uint64_t count = std::min(1 + random.below(32), bytes.size() - std::max(start, at));
      bytes.replace(at, count, std::string(bytes.substr(start, count)));
    }
  }

  static uint32_t number_at(const std::string& bytes, size_t at) {
    uint32_t number = 0;
    for (size_t i = at; i < at + 4; ++i) {
      number = number << 8 | static_cast<uint8_t>(bytes[i]);
    }
    return number;
  }

  /// Writes the checksums of a PNG file's chunks, as far as there are any.
  static void correct_checksums(std::string& bytes) {
    for (size_t position = 8; position + 12 <= bytes.size();) {
      const size_t end = position + 8 + number_at(bytes, position);
      if (end + 4 > bytes.size()) {
        return;
      }
      const auto* const start = reinterpret_cast<const Bytef*>(bytes.data()) + position + 4;
      const uLong sum = crc32(0, start, static_cast<uInt>(end - position - 4));
      for (size_t i = 0; i < 4; ++i) {
        bytes[end + i] = static_cast<char>(sum >> (24 - 8 * i));
      }
      position = end + 4;
    }
  }

  std::vector<std::string> names_;
};

}  // namespace lora::test
