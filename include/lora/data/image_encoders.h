#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "lora/image/image.h"

namespace lora::data {

/// The posterior of an image's latents as the network takes them (scaled), float32 [C, h, w].
struct LatentMoments {
  at::Tensor mean;
  at::Tensor log_variance;
};

/// What a network takes of a caption: states [S, D], and pooled text [P] (undefined: none). Any plain floating-point dtype.
struct CaptionStates {
  at::Tensor states;
  at::Tensor pooled;
};

/// The frozen encoders of a text-to-image model, with which rows of images are encoded once. They are called by one thread, only for what
/// the cache does not hold, so that they need not be loaded before.
struct ImageEncoders {
  std::function<LatentMoments(const at::Tensor& pixels)> encode_image;      ///< float32 [3, H, W] from -1 to 1, on the CPU
  std::function<CaptionStates(const std::string& caption)> encode_caption;
  std::string image_identity;    ///< what moments depend on besides pixels: a hash of weights, config and dtype
  std::string caption_identity;  ///< what states depend on besides the caption
  std::filesystem::path cache;   ///< the folder that keeps both
  image::Size resolution;        ///< where the config gives none
  int64_t side_multiple = 8;     ///< of the images' sides
  bool takes_time_ids = false;   ///< the network takes sizes and crop (SDXL)
};

}  // namespace lora::data
