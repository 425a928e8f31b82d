#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lora/image/image.h"

namespace lora::image {

/// A file that is decoded.
struct Source {
  std::string_view bytes;
  const std::string& name;  ///< in messages

  /// Throws data Error.
  [[noreturn]] void fail(const std::string& what) const;
};

/// What a file says before its pixels.
struct Header {
  Size size;            ///< as stored
  int orientation = 1;  ///< as EXIF's: 1 to 8
  std::vector<std::string> warnings;
};

/// Decoded pixels as they are stored: RGB, or RGBA with straight alpha.
struct Pixels {
  bool has_alpha = false;
  std::vector<uint8_t> samples;
  std::vector<std::string> warnings;
};

/// How files of one kind are decoded. Functions throw data Error for a damaged file.
struct Codec {
  std::string_view name;
  bool (*recognises)(std::string_view bytes);
  Header (*read_header)(const Source& source);
  Pixels (*read_pixels)(const Source& source, const Header& header);
};

extern const Codec kJpegCodec;
extern const Codec kPngCodec;
extern const Codec kWebpCodec;

/// Makes RGB samples of grey ones.
std::vector<uint8_t> rgb_of_grey(const std::vector<uint8_t>& grey);

}  // namespace lora::image
