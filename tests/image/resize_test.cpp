#include "lora/image/resize.h"

#include <gtest/gtest.h>

#include "image/samples.h"
#include "lora/image/decode.h"
#include "lora/image/encode_png.h"

namespace lora::image {
namespace {

Image noise(Size size, uint64_t seed) {
  test::SplitMix random(seed);
  Image image{size, {}};
  for (int64_t i = 0; i < size.pixels() * 3; ++i) {
    image.rgb.push_back(static_cast<uint8_t>(random.next()));
  }
  return image;
}

TEST(Resize, GivesPillowsBytes) {
  const Image image = noise({83, 61}, 1);
  const Json expected = test::expected_images().at("resized");
  ASSERT_EQ(expected.size(), 27U);
  for (const Json& row : expected) {
    SCOPED_TRACE(row.dump());
    const Size size{row.at("size")[0], row.at("size")[1]};
    const Image resized = resize(image, size, *kInterpolations.find(row.at("filter").get<std::string>()));
    EXPECT_EQ(resized.size, size);
    EXPECT_EQ(test::digest(resized), row.at("pixels"));
  }
}

TEST(Crop, AndFlipMoveWholePixels) {
  const Image image = noise({7, 5}, 2);
  const auto pixel = [](const Image& of, int64_t x, int64_t y) {
    const auto first = of.rgb.begin() + (y * of.size.width + x) * 3;
    return std::vector<uint8_t>(first, first + 3);
  };
  const Image part = crop(image, 2, 1, {4, 3});
  const Image mirrored = flip(part);
  for (int64_t y = 0; y < 3; ++y) {
    for (int64_t x = 0; x < 4; ++x) {
      EXPECT_EQ(pixel(part, x, y), pixel(image, x + 2, y + 1));
      EXPECT_EQ(pixel(mirrored, 3 - x, y), pixel(part, x, y));
    }
  }
}

TEST(EncodePng, WritesAFileThatGivesTheSamePixels) {
  for (const Size size : {Size{1, 1}, Size{83, 61}}) {
    const Image image = noise(size, 3);
    const std::string bytes = encode_png(image);
    EXPECT_EQ(bytes, encode_png(image));
    const Decoded decoded = decode(bytes, "x.png", {});
    EXPECT_EQ(decoded.image.size, size);
    EXPECT_EQ(decoded.image.rgb, image.rgb);
    EXPECT_FALSE(decoded.has_alpha);
  }
}

}  // namespace
}  // namespace lora::image
