#pragma once
#include <filesystem>
#include <memory>

#include "lora/base/json.h"
#include "lora/data/image_encoders.h"
#include "lora/models/options.h"

namespace lora::app {

/// The encoders of a pipeline for rows of images: its VAE in float32, which overflows in float16, and its text encoders. Each is loaded
/// for the first image or caption that the cache does not hold, and freed with the object.
class PipelineEncoders {
 public:
  /// @param cache the folder that keeps what they compute. Throws what diffusion::Pipeline throws.
  PipelineEncoders(const models::ModelOptions& model, std::filesystem::path cache);
  ~PipelineEncoders();

  /// Valid during the lifetime of this object.
  const data::ImageEncoders& functions() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The SHA-256 of each file of the encoders and their tokenizers, by component and file name: what rows of images become depends on them.
Json encoder_hashes(const models::ModelOptions& model);

}  // namespace lora::app
