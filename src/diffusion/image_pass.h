#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>

#include "lora/nn/pass.h"

namespace lora::diffusion {

using at::Tensor;

/// One forward pass over N images, as modules see it whose rows are the images or places of them: pixels at some resolution, positions of
/// the text. The keys of places are a function of the image's key and the place, so that no split into batches changes them.
class ImagePass {
 public:
  explicit ImagePass(nn::Pass images) : images_(std::move(images)), keys_(std::make_shared<std::map<int64_t, Tensor>>()) {}

  const nn::Pass& images() const { return images_; }
  /// The pass of rows that are `count` places of each image, the places of an image next to each other.
  nn::Pass places(int64_t count) const;
  /// The same with another pass over the images: one that is recomputed.
  ImagePass with(const nn::Pass& images) const;

 private:
  nn::Pass images_;
  std::shared_ptr<std::map<int64_t, Tensor>> keys_;  ///< by the number of places; copies share it
};

}  // namespace lora::diffusion
