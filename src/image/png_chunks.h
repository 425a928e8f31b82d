#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/codec.h"

namespace lora::image {

/// What a PNG file holds besides compressed samples.
struct PngChunks {
  Header header;
  int depth = 0;               ///< bits of a sample: 1, 2, 4, 8 or 16
  int color_type = 0;          ///< 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha
  bool is_interlaced = false;  ///< Adam7
  std::string_view palette;    ///< 3 bytes an entry
  std::optional<std::string_view> transparency;  ///< the content of tRNS
  std::vector<std::string_view> data;            ///< the content of each IDAT chunk, as far as the file goes
  bool is_animated = false;

  int num_samples() const;  ///< of one pixel in the file
};

/// Walks through the chunks of a file by the rules of Pillow's PngImagePlugin: checksums count before the image data only, and what is
/// missing after it is not an error. Throws data Error.
PngChunks read_png_chunks(const Source& source);

}  // namespace lora::image
