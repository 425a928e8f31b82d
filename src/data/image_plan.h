#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/data/image_options.h"

namespace lora::data {

/// How an image is brought to the size that it is trained at: it is resized, mirrored or not, and cropped.
struct ImagePlan {
  image::Size resized;
  int64_t left = 0;
  int64_t top = 0;
  image::Size size;

  bool operator==(const ImagePlan&) const = default;
};

/// The sizes of kohya's buckets (make_bucket_resolutions), sorted by width, then height.
std::vector<image::Size> bucket_sizes(image::Size resolution, const BucketOptions& options);

/// Plans images, each as a pure function of its size and its key.
class ImagePlanner {
 public:
  /// Throws config Error if a side of the resolution or the step of the buckets is no multiple of `side_multiple`, or if no bucket fits
  /// the options.
  ImagePlanner(const ImageOptions& options, image::Size default_resolution, int64_t side_multiple);

  /// @param original the size of the image as it is meant to be seen. @param key for the place of a random crop.
  /// Throws data Error naming `name` for an image that is too small for a bucket without enlarging it.
  ImagePlan plan(image::Size original, uint64_t key, const std::string& name) const;

 private:
  /// Without a crop.
  ImagePlan covering(image::Size original, image::Size size) const;
  ImagePlan in_bucket(image::Size original) const;
  ImagePlan without_upscale(image::Size original, const std::string& name) const;

  ImageOptions options_;
  image::Size resolution_;
  std::vector<image::Size> buckets_;
};

}  // namespace lora::data
