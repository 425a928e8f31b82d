#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "lora/base/enum_table.h"
#include "lora/image/image.h"
#include "lora/image/resize.h"

namespace lora::data {

/// What happens to an image without a caption, or with an empty one.
enum class MissingCaption {
  kError,  ///< data Error naming the image
  kEmpty,  ///< its caption is ""
  kSkip,   ///< it is not used, and counted
};
inline constexpr EnumTable<MissingCaption, 3> kMissingCaptions{
    {{{MissingCaption::kError, "error"}, {MissingCaption::kEmpty, "empty"}, {MissingCaption::kSkip, "skip"}}}};

/// Sizes of similar area for images of different shapes, by the rule of kohya's tools (library/model_util.py and train_util.py).
struct BucketOptions {
  bool enabled = false;
  int64_t step = 64;     ///< sides are multiples of it
  int64_t min = 256;     ///< smallest side
  int64_t max = 1024;    ///< largest side
  bool upscale = true;   ///< false: an image of a smaller area keeps its size, less what exceeds multiples of `step`
};

/// How images become those that a model is trained on.
struct ImageOptions {
  std::optional<image::Size> resolution;  ///< none: the model's
  BucketOptions buckets;
  bool center_crop = true;   ///< false: each image is cropped at a random place, which is a function of its file's content
  bool random_flip = false;  ///< each use of an image is mirrored with probability 1/2
  image::Interpolation interpolation = image::Interpolation::kLanczos;
  double caption_dropout = 0.0;  ///< probability that a use of an image has the caption ""
  MissingCaption missing_caption = MissingCaption::kError;
  std::string background = "white";  ///< what transparent pixels show, as image::color_of reads it
};

}  // namespace lora::data
