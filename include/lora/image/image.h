#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace lora::image {

struct Size {
  int64_t width = 0;
  int64_t height = 0;

  int64_t pixels() const { return width * height; }
  std::string text() const;  ///< "640 x 480"
  bool operator==(const Size&) const = default;
};

/// Pixels in RGB with 8 bits a channel: height * width * 3 bytes, row by row.
struct Image {
  Size size;
  std::vector<uint8_t> rgb;
};

/// The part of an image whose upper left corner is (left, top). The part must lie within the image.
Image crop(const Image& image, int64_t left, int64_t top, Size size);

/// The image mirrored from left to right.
Image flip(const Image& image);

}  // namespace lora::image
