#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::diffusion {

/// config.json of AutoencoderKL. A key that is absent has the default of today's class.
struct VaeConfig {
  std::vector<int64_t> channels;  ///< of each resolution, from the finest
  int64_t num_layers;             ///< resnets of each resolution of the encoder; the decoder has one more
  int64_t num_groups;
  int64_t latent_channels;
  bool has_attention;                        ///< in the middle block
  bool has_quant_conv, has_post_quant_conv;  ///< convolutions of single pixels after the encoder and before the decoder
  double scaling, shift;
  std::vector<double> mean, deviation;  ///< of each channel of the latents before scaling; empty: 0 and 1
};

/// Reads it. Throws model Error for a damaged value, and for one that would need a part that this autoencoder does not have. Warns of keys
/// that the class does not have.
/// @param where the file, for messages.
VaeConfig read_vae_config(const Json& config, const std::string& where);

}  // namespace lora::diffusion
