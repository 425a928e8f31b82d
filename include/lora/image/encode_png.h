#pragma once
#include <string>

#include "lora/image/image.h"

namespace lora::image {

/// The bytes of a PNG file, the same for the same image. Write them by ResultFile, or by write_file_atomically into a folder of results.
std::string encode_png(const Image& image);

}  // namespace lora::image
