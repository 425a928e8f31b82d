#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"

namespace lora::app {

/// The flags of `lora-generate --image`.
struct GenerateImageRequest {
  InferenceRequest inference;                  ///< the model is a text-to-image pipeline; all adapters are in use at once
  std::vector<double> weights;                 ///< --weight: one per adapter, or none for 1 each
  std::string prompt;                          ///< --prompt
  std::optional<std::string> negative_prompt;  ///< --negative-prompt: what the image is not to show; none: as the pipeline does
  int64_t steps = 50;                          ///< --steps
  std::optional<double> guidance;              ///< --guidance; none: diffusers' default
  int64_t width = 0;                           ///< --width in pixels; 0: the model's
  int64_t height = 0;                          ///< --height
  uint64_t seed = 42;                          ///< --seed
  std::string sampler = "";                    ///< --sampler; empty: DDIM, or that of flow matching
  std::filesystem::path output;                ///< --output: a PNG file
};

/// Writes the image that a pipeline computes for a prompt, the same for the same request on one machine. Throws what loading throws,
/// config Error for invalid options, and data Error for a prompt that is not UTF-8.
int generate_image_command(const GenerateImageRequest& request);

}  // namespace lora::app
