#pragma once
#include <optional>
#include <string_view>

#include "image/codec.h"

namespace lora::image {

/// The metadata of a file that can name its orientation.
struct Metadata {
  std::optional<std::string> exif;  ///< a TIFF file, which may begin with "Exif\0\0"
  std::string_view xmp;             ///< XML
};

/// The orientation that the metadata names, 1 if none does: tag 0x0112 of EXIF's first directory, else tiff:Orientation of XMP. Damaged
/// EXIF is read as far as Pillow reads it; none if it does not begin as a TIFF file.
std::optional<int> orientation_of(const Metadata& metadata);

/// The same; throws data Error where there is none.
int require_orientation(const Metadata& metadata, const Source& source);

/// Whether an orientation exchanges width and height.
inline bool swaps_sides(int orientation) {
  return orientation >= 5 && orientation <= 8;
}

/// The image as it is meant to be seen.
Image upright(Image stored, int orientation);

}  // namespace lora::image
