#include "image/orientation.h"

#include <algorithm>
#include <array>

#include "image/byte_reader.h"

namespace lora::image {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;

/// Bytes of one value of each TIFF type; 0: a type that readers skip.
constexpr std::array<uint64_t, 17> kTypeSizes{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

/// The first directory of a TIFF file.
class Directory {
 public:
  explicit Directory(std::string_view tiff) : tiff_(tiff), is_big_(tiff.starts_with("MM")) {}

  static bool is_tiff(std::string_view bytes) {
    using namespace std::string_view_literals;
    const std::string_view start = bytes.substr(0, 4);
    return bytes.size() >= 8 && (start == "II*\0"sv || start == "MM\0*"sv || start == "II\0*"sv || start == "MM*\0"sv);
  }

  /// The tag's first value if it is an integer; entries after the first damaged one are not read.
  std::optional<uint32_t> find(uint32_t tag) const {
    const uint64_t start = long_at(4);
    if (start + 2 > tiff_.size()) {
      return std::nullopt;
    }
    const uint64_t count = short_at(start);
    uint64_t outside = 0;  // bytes of values that are not in their entries
    for (uint64_t entry = start + 2, i = 0; i < count && entry + 12 <= tiff_.size(); ++i, entry += 12) {
      const uint32_t type = short_at(entry + 2);
      const uint64_t size = type < kTypeSizes.size() ? kTypeSizes[type] * long_at(entry + 4) : 0;
      if (size > 4) {
        outside += size;
        if (outside <= tiff_.size() && long_at(entry + 8) + size > tiff_.size()) {
          return std::nullopt;
        }
      }
      if (short_at(entry) == tag && size > 0 && (size <= 4 || outside <= tiff_.size())) {
        return value(type, size > 4 ? long_at(entry + 8) : entry + 8);
      }
    }
    return std::nullopt;
  }

 private:
  uint32_t short_at(uint64_t offset) const { return is_big_ ? big_16(tiff_, offset) : little_16(tiff_, offset); }
  uint32_t long_at(uint64_t offset) const { return is_big_ ? big_32(tiff_, offset) : little_32(tiff_, offset); }

  std::optional<uint32_t> value(uint32_t type, uint64_t offset) const {
    switch (type) {
      case 3:
      case 8:
        return short_at(offset);
      case 4:
      case 9:
      case 13:
        return long_at(offset);
      case 6:
        return static_cast<uint8_t>(tiff_[offset]);
      default:
        return std::nullopt;
    }
  }

  std::string_view tiff_;
  bool is_big_;
};

int of_xmp(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    const size_t skip = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (skip > 0 && rest.size() > skip && rest[skip] >= '0' && rest[skip] <= '9') {
      return rest[skip] - '0';
    }
  }
  return 1;
}

}  // namespace

std::optional<int> orientation_of(const Metadata& metadata) {
  using namespace std::string_view_literals;
  std::string_view tiff = metadata.exif ? std::string_view(*metadata.exif) : std::string_view();
  for (int i = 0; i < 2 && tiff.starts_with("Exif\0\0"sv); ++i) {
    tiff.remove_prefix(6);
  }
  if (!tiff.empty()) {
    if (!Directory::is_tiff(tiff)) {
      return std::nullopt;
    }
    if (const std::optional<uint32_t> found = Directory(tiff).find(kOrientationTag)) {
      return *found <= 8 ? static_cast<int>(*found) : 1;
    }
  }
  return of_xmp(metadata.xmp);
}

int require_orientation(const Metadata& metadata, const Source& source) {
  const std::optional<int> orientation = orientation_of(metadata);
  if (!orientation) {
    source.fail("the EXIF metadata, which holds the image's orientation, is damaged: it does not begin as a TIFF file");
  }
  return *orientation;
}

Image upright(Image stored, int orientation) {
  if (orientation < 2 || orientation > 8) {
    return stored;
  }
  const bool swaps = swaps_sides(orientation);
  const bool mirrors_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirrors_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto [width, height] = stored.size;
  Image result{swaps ? Size{height, width} : stored.size, std::vector<uint8_t>(stored.rgb.size())};
  uint8_t* target = result.rgb.data();
  for (int64_t y = 0; y < result.size.height; ++y) {
    for (int64_t x = 0; x < result.size.width; ++x, target += 3) {
      const int64_t column = swaps ? y : x;
      const int64_t row = swaps ? x : y;
      const int64_t from = (mirrors_rows ? height - 1 - row : row) * width + (mirrors_columns ? width - 1 - column : column);
      std::copy_n(stored.rgb.data() + from * 3, 3, target);
    }
  }
  return result;
}

}  // namespace lora::image
