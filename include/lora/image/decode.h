#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/image/image.h"

namespace lora::image {

struct Color {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;

  bool operator==(const Color&) const = default;
};
inline constexpr Color kWhite{255, 255, 255};

/// A colour by name ("white", "black", "gray") or as "#rrggbb"; none for another text.
std::optional<Color> color_of(std::string_view text);

/// What an image may need at most. It is checked before any pixel is decoded.
struct Limits {
  size_t bytes = size_t{256} << 20;  ///< of the file
  int64_t pixels = 178'956'970;      ///< at which Pillow warns of a decompression bomb
  int64_t side = 65'535;             ///< width and height
};

struct DecodeOptions {
  std::optional<Color> background = kWhite;  ///< shows through transparent pixels; none: alpha is dropped, as Pillow's convert("RGB") does
  Limits limits;
};

struct Decoded {
  Image image;
  bool has_alpha = false;             ///< the file has an alpha channel or transparent colours
  std::vector<std::string> warnings;  ///< damage that the decoder tolerates and what of the file is not used, without the file's name
};

/// The names of the files' kinds that are decoded, for messages: "JPEG, PNG or WebP".
std::string known_kinds();

/// The size of an image as it is meant to be seen, after its orientation, from a file's bytes without decoding pixels. Throws data Error
/// "[name] …" as decode does, except for damage in the pixels.
Size size_of(std::string_view bytes, const std::string& name, const Limits& limits);

/// Decodes the bytes of a JPEG, PNG or WebP file and applies its orientation (EXIF, else XMP). Without a background the pixels are those
/// of Pillow's `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`; with one, those of `Image.alpha_composite` over it. An
/// animation gives its first frame. Throws data Error naming the file where Pillow raises: for a file of another kind, a truncated or
/// damaged one; also for one beyond the limits, and for a PNG file whose data is whole but has fewer rows than its header says (Pillow
/// makes the others black).
Decoded decode(std::string_view bytes, const std::string& name, const DecodeOptions& options);

}  // namespace lora::image
