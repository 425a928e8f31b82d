#pragma once
#include <cstdint>
#include <string>

namespace lora::data {

/// What a folder of images, or rows of them, holds, found without decoding one.
struct ImageSurvey {
  int64_t num_images = 0;
  int64_t without_caption = 0;
  int64_t smallest_side = 0, largest_side = 0;  ///< in pixels, of all images
  int64_t num_small = 0;                        ///< images of a smaller area than a square with the given side
  int64_t num_long = 0;                         ///< images whose sides differ by more than a tenth
};

/// Looks at the images that a run would read from `path`. Throws what reading it throws, and data Error for an image whose size cannot be
/// read.
/// @param side of the square whose area images are compared with. @param where names the path in errors.
ImageSurvey survey_images(const std::string& path, int64_t side, const std::string& where);

}  // namespace lora::data
