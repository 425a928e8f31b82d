#include "lora/image/decode.h"

#include <gtest/gtest.h>

#include "image/damaged.h"
#include "image/samples.h"
#include "support/damage.h"
#include "support/expect_error.h"

namespace lora::image {
namespace {

using namespace std::string_literals;
using lora::test::expect_error;
using lora::test::image_file;
using testing::HasSubstr;

const DecodeOptions kDropAlpha{std::nullopt, {}};

TEST(Decode, GivesPillowsPixelsOfEveryKind) {
  const Json expected = test::expected_images();
  ASSERT_GE(expected.at("images").size(), 38U);
  for (const auto& [name, facts] : expected.at("images").items()) {
    SCOPED_TRACE(name);
    const std::string bytes = image_file(name);
    const Decoded dropped = decode(bytes, name, kDropAlpha);
    const Size size{facts.at("size")[0], facts.at("size")[1]};
    EXPECT_EQ(dropped.image.size, size);
    EXPECT_EQ(size_of(bytes, name, {}), size);
    EXPECT_EQ(test::digest(dropped.image), facts.at("dropped"));
    EXPECT_EQ(test::digest(decode(bytes, name, {}).image), facts.at("white"));
    EXPECT_EQ(test::digest(decode(bytes, name, {Color{0, 128, 127}, {}}).image), facts.at("teal"));
    EXPECT_EQ(dropped.has_alpha, name.find("alpha") != std::string::npos || name.find("rgba") != std::string::npos ||
                                     name.find("transparent") != std::string::npos || name == "palette.png");
  }
}

TEST(Decode, ReportsWhatItDoesNotUse) {
  const auto warnings = [](const std::string& name) { return decode(image_file(name), name, {}).warnings; };
  EXPECT_THAT(warnings("animated.webp"), testing::ElementsAre(HasSubstr("first of 2 frames")));
  EXPECT_THAT(warnings("grey_16.png"), testing::ElementsAre(HasSubstr("above 255 become white")));
  EXPECT_THAT(warnings("baseline.jpg"), testing::IsEmpty());
}

/// As scripts/golden/images.py writes an outcome.
std::string outcome(const test::DamagedImage& image, const Limits& limits) {
  try {
    const Image pixels = decode(image.bytes, image.name, {std::nullopt, limits}).image;
    return std::to_string(pixels.size.width) + "x" + std::to_string(pixels.size.height) + ":" + test::digest(pixels).substr(0, 16);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), testing::StartsWith("[" + image.name + "] "));
    return "error";
  }
}

TEST(DamagedImages, AreErrorsWherePillowRaisesAndPillowsPixelsElsewhere) {
  const Json expected = test::expected_images().at("damaged");
  const test::ImageDamage damage;
  const int count = std::min(test::damaged_files(50), static_cast<int>(expected.size()));
  Limits limits;
  limits.pixels = 1 << 20;
  for (int number = 0; number < count; ++number) {
    const test::DamagedImage image = damage.make(static_cast<uint64_t>(number));
    SCOPED_TRACE(std::to_string(number) + " from " + image.name);
    const Json& pillows = expected[static_cast<size_t>(number)];
    EXPECT_EQ(outcome(image, limits), pillows.is_null() ? "error" : pillows.get<std::string>());
  }
}

TEST(Decode, RefusesEveryTruncationThatPillowRefuses) {
  for (const std::string name : {"baseline.jpg", "progressive.jpg", "rgb.png", "interlaced.png", "lossy.webp", "lossless_alpha.webp"}) {
    SCOPED_TRACE(name);
    const std::string bytes = image_file(name);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{12}, size_t{30}, bytes.size() / 3, bytes.size() / 2, bytes.size() - 40}) {
      expect_error(ErrorKind::kData, {name}, [&] { decode(bytes.substr(0, size), name, {}); });
    }
  }
  // What is missing after the rows of a PNG file does not matter.
  const std::string bytes = image_file("rgb.png");
  EXPECT_EQ(decode(bytes.substr(0, bytes.size() - 12), "rgb.png", {}).image.rgb, decode(bytes, "rgb.png", {}).image.rgb);
}

TEST(Decode, RefusesOtherKindsByName) {
  const auto refused = [](const std::string& bytes, const std::string& kind) {
    expect_error(ErrorKind::kData, {"[x]", kind, "expected JPEG, PNG or WebP"}, [&] { decode(bytes, "x", {}); });
  };
  refused("GIF89a......", "kind GIF:");
  refused("BM..........", "kind BMP:");
  refused("II*\0........"s, "kind TIFF:");
  refused("MM\0*........"s, "kind TIFF:");
  refused("\0\0\0\x1c" "ftypavif...."s, "kind AVIF:");
  refused("\0\0\0\x1c" "ftypheic...."s, "kind HEIC:");
  refused("\0\0\0\x1c" "ftypmif1...."s, "HEIC or AVIF:");
  refused("\0\0\0\x1c" "ftypisom...."s, "kind video:");
  refused("\xff\x0a.........."s, "kind JPEG XL:");
  refused("8BPS........", "kind Photoshop:");
  refused("<svg xmlns=..", "kind SVG:");
  refused("RIFF\4\0\0\0WAVEfmt ."s, "no known image");
  refused("version https://git-lfs.github.com/spec/v1", "Git LFS pointer");
  expect_error(ErrorKind::kData, {"[x]", "is empty"}, [] { decode("", "x", {}); });
}

TEST(Decode, ChecksLimitsBeforeItDecodes) {
  const std::string bytes = image_file("rgb.png");  // 29 x 19
  const auto refused = [&](const Limits& limits, const std::string& part) {
    expect_error(ErrorKind::kData, {"[rgb.png]", "too large", part}, [&] { decode(bytes, "rgb.png", {kWhite, limits}); });
    expect_error(ErrorKind::kData, {"[rgb.png]", "too large", part}, [&] { size_of(bytes, "rgb.png", limits); });
  };
  Limits limits;
  limits.bytes = 100;
  refused(limits, "expected at most 100");
  limits = {};
  limits.pixels = 29 * 19 - 1;
  refused(limits, "29 x 19 = 551 pixels, expected at most 550");
  limits = {};
  limits.side = 28;
  refused(limits, "expected at most 28 a side");
  // An image of 60,000 x 60,000 in a few bytes: no memory is taken for it.
  std::string huge = image_file("baseline.jpg");
  const size_t frame = huge.find("\xff\xc0"s);
  ASSERT_NE(frame, std::string::npos);
  huge.replace(frame + 5, 4, "\xea\x60\xea\x60");
  const int64_t before = test::peak_memory();
  expect_error(ErrorKind::kData, {"[huge.jpg]", "60000 x 60000"}, [&] { decode(huge, "huge.jpg", {}); });
  EXPECT_LT(test::peak_memory() - before, 16 << 10);
  huge.replace(frame + 5, 4, "\0\0\0\7"s);
  expect_error(ErrorKind::kData, {"[huge.jpg]", "no pixels: its size is 7 x 0"}, [&] { decode(huge, "huge.jpg", {}); });
}

TEST(Decode, TreatsDamagedMetadataAsPillowDoes) {
  std::string bytes = image_file("orientation_6.jpg");
  const size_t tiff = bytes.find("Exif\0\0"s) + 6;
  const Size upright{9, 14};
  EXPECT_EQ(size_of(bytes, "a.jpg", {}), upright);
  const Size stored{14, 9};
  std::string other = bytes;
  other.replace(tiff, 2, "XX");
  const Decoded decoded = decode(other, "a.jpg", {});
  EXPECT_EQ(decoded.image.size, stored);
  EXPECT_THAT(decoded.warnings, testing::ElementsAre(HasSubstr("EXIF metadata")));
  std::string webp = image_file("exif.webp");
  webp.replace(webp.find("MM\0*"s), 2, "XX");
  expect_error(ErrorKind::kData, {"[a.webp]", "EXIF metadata"}, [&] { size_of(webp, "a.webp", {}); });
  // A directory outside the metadata holds nothing.
  other = bytes;
  other.replace(tiff + 4, 4, "\xff\xff\xff\x7f");
  EXPECT_EQ(decode(other, "a.jpg", {}).image.size, stored);
}

TEST(ColorOf, ReadsNamesAndHexadecimals) {
  EXPECT_EQ(color_of("white"), kWhite);
  EXPECT_EQ(color_of("black"), Color{});
  EXPECT_EQ(color_of("#0080fF"), (Color{0, 128, 255}));
  for (const char* const text : {"", "#", "#fff", "#12345g", "0080ff0", "blue", "#0080ff0"}) {
    EXPECT_FALSE(color_of(text)) << text;
  }
}

}  // namespace
}  // namespace lora::image
