#include "lora/image/image.h"

#include <algorithm>

namespace lora::image {

std::string Size::text() const {
  return std::to_string(width) + " x " + std::to_string(height);
}

Image crop(const Image& image, int64_t left, int64_t top, Size size) {
  Image part{size, std::vector<uint8_t>(static_cast<size_t>(size.pixels() * 3))};
  for (int64_t y = 0; y < size.height; ++y) {
    const auto row = image.rgb.begin() + ((top + y) * image.size.width + left) * 3;
    std::copy(row, row + size.width * 3, part.rgb.begin() + y * size.width * 3);
  }
  return part;
}

Image flip(const Image& image) {
  Image mirrored{image.size, std::vector<uint8_t>(image.rgb.size())};
  const int64_t width = image.size.width;
  for (int64_t y = 0; y < image.size.height; ++y) {
    const uint8_t* const source = image.rgb.data() + y * width * 3;
    uint8_t* const target = mirrored.rgb.data() + y * width * 3;
    for (int64_t x = 0; x < width; ++x) {
      std::copy_n(source + x * 3, 3, target + (width - 1 - x) * 3);
    }
  }
  return mirrored;
}

}  // namespace lora::image
