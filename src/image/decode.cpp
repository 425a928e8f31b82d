#include "lora/image/decode.h"

#include <algorithm>
#include <array>

#include "image/codec.h"
#include "image/orientation.h"
#include "lora/base/error.h"

namespace lora::image {

void Source::fail(const std::string& what) const {
  data_error(name, what);
}

std::vector<uint8_t> rgb_of_grey(const std::vector<uint8_t>& grey) {
  std::vector<uint8_t> rgb(grey.size() * 3);
  for (size_t i = 0; i < grey.size(); ++i) {
    std::fill_n(rgb.begin() + static_cast<std::ptrdiff_t>(i * 3), 3, grey[i]);
  }
  return rgb;
}

namespace {

using namespace std::string_view_literals;

constexpr std::array<const Codec*, 3> kCodecs{&kJpegCodec, &kPngCodec, &kWebpCodec};

/// How files of kinds that are not decoded begin.
struct OtherKind {
  std::string_view name;
  size_t offset;
  std::string_view start;
};
constexpr std::array<OtherKind, 24> kOtherKinds{{
    {"GIF", 0, "GIF8"sv},
    {"BMP", 0, "BM"sv},
    {"TIFF", 0, "II*\0"sv},
    {"TIFF", 0, "MM\0*"sv},
    {"AVIF", 4, "ftypavi"sv},
    {"HEIC", 4, "ftyphei"sv},
    {"HEIC", 4, "ftyphev"sv},
    {"HEIC or AVIF", 4, "ftypmif1"sv},
    {"HEIC or AVIF", 4, "ftypmsf1"sv},
    {"video", 4, "ftyp"sv},
    {"JPEG XL", 0, "\xff\x0a"sv},
    {"JPEG XL", 0, "\0\0\0\x0cJXL "sv},
    {"JPEG 2000", 0, "\0\0\0\x0cjP  "sv},
    {"JPEG 2000", 0, "\xff\x4f\xff\x51"sv},
    {"Photoshop", 0, "8BPS"sv},
    {"ICO", 0, "\0\0\1\0"sv},
    {"OpenEXR", 0, "v/1\1"sv},
    {"QOI", 0, "qoif"sv},
    {"PDF", 0, "%PDF"sv},
    {"SVG", 0, "<svg"sv},
    {"XML or SVG", 0, "<?xml"sv},
    {"HTML", 0, "<!DOCTYPE"sv},
    {"HTML", 0, "<html"sv},
    {"Git LFS pointer", 0, "version https://git-lfs"sv},
}};

const Codec& codec_of(const Source& source) {
  const auto* const found =
      std::find_if(kCodecs.begin(), kCodecs.end(), [&](const Codec* codec) { return codec->recognises(source.bytes); });
  if (found != kCodecs.end()) {
    return **found;
  }
  if (source.bytes.empty()) {
    source.fail("the file is empty: expected an image (" + known_kinds() + ")");
  }
  const auto* const other = std::find_if(kOtherKinds.begin(), kOtherKinds.end(), [&](const OtherKind& kind) {
    return source.bytes.size() >= kind.offset && source.bytes.substr(kind.offset).starts_with(kind.start);
  });
  source.fail((other != kOtherKinds.end() ? "found a file of the kind " + std::string(other->name) : "the file begins as no known image") +
              ": expected " + known_kinds() + ". Convert it, for instance to PNG.");
}

void check_limits(const Source& source, Size size, const Limits& limits) {
  if (size.width <= 0 || size.height <= 0) {
    source.fail("the image has no pixels: its size is " + size.text());
  }
  if (size.width > limits.side || size.height > limits.side) {
    source.fail("the image is too large: found " + size.text() + ", expected at most " + std::to_string(limits.side) + " a side");
  }
  if (size.pixels() > limits.pixels) {
    source.fail("the image is too large: found " + size.text() + " = " + std::to_string(size.pixels()) + " pixels, expected at most " +
                std::to_string(limits.pixels) + ". Make it smaller first.");
  }
}

struct Opened {
  const Codec& codec;
  Header header;
};

Opened open(const Source& source, const Limits& limits) {
  if (source.bytes.size() > limits.bytes) {
    source.fail("the file is too large: found " + std::to_string(source.bytes.size()) + " bytes, expected at most " +
                std::to_string(limits.bytes));
  }
  const Codec& codec = codec_of(source);
  const Header header = codec.read_header(source);
  check_limits(source, header.size, limits);
  return {codec, header};
}

/// One channel of a pixel over an opaque background, as Pillow's AlphaComposite.c computes it: 7 more bits, and a rounded division.
uint8_t over(uint8_t sample, uint8_t background, uint32_t alpha) {
  constexpr int kBits = 7;
  const uint32_t weight = alpha << kBits;
  const uint32_t sum = sample * weight + background * ((255U << kBits) - weight) + (0x80U << kBits);
  return static_cast<uint8_t>(((sum >> 8) + sum) >> 8 >> kBits);
}

/// RGB of RGBA.
std::vector<uint8_t> without_alpha(const std::vector<uint8_t>& rgba, const std::optional<Color>& background) {
  std::vector<uint8_t> rgb(rgba.size() / 4 * 3);
  const Color color = background.value_or(Color{});
  const std::array<uint8_t, 3> channels{color.red, color.green, color.blue};
  for (size_t i = 0; i < rgba.size() / 4; ++i) {
    const uint32_t alpha = background ? rgba[i * 4 + 3] : 255;
    for (size_t channel = 0; channel < 3; ++channel) {
      rgb[i * 3 + channel] = over(rgba[i * 4 + channel], channels[channel], alpha);
    }
  }
  return rgb;
}

}  // namespace

std::optional<Color> color_of(std::string_view text) {
  if (text == "white" || text == "black") {
    return text == "white" ? kWhite : Color{};
  }
  if (text == "gray" || text == "grey") {
    return Color{128, 128, 128};
  }
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  if (text.size() != 7 || text.front() != '#' || !std::all_of(text.begin() + 1, text.end(), is_digit)) {
    return std::nullopt;
  }
  const auto value = std::stoul(std::string(text.substr(1)), nullptr, 16);
  return Color{static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

std::string known_kinds() {
  return std::string(kCodecs[0]->name) + ", " + std::string(kCodecs[1]->name) + " or " + std::string(kCodecs[2]->name);
}

Size size_of(std::string_view bytes, const std::string& name, const Limits& limits) {
  const Header header = open({bytes, name}, limits).header;
  return swaps_sides(header.orientation) ? Size{header.size.height, header.size.width} : header.size;
}

Decoded decode(std::string_view bytes, const std::string& name, const DecodeOptions& options) {
  const Source source{bytes, name};
  const auto [codec, header] = open(source, options.limits);
  Pixels pixels = codec.read_pixels(source, header);
  Image stored{header.size, pixels.has_alpha ? without_alpha(pixels.samples, options.background) : std::move(pixels.samples)};
  std::vector<std::string> warnings = header.warnings;
  warnings.insert(warnings.end(), pixels.warnings.begin(), pixels.warnings.end());
  return {upright(std::move(stored), header.orientation), pixels.has_alpha, std::move(warnings)};
}

}  // namespace lora::image
