#pragma once
#include <ATen/core/Tensor.h>

#include "lora/train/options.h"

namespace lora::train {

/// The share of a schedule's timesteps, counted from the noisiest, that an image's draw leaves before it: from 0 to 1, as diffusers'
/// compute_density_for_timestep_sampling draws it (Esser et al. 2024, section 3.1). A function of the key.
double drawn_flow_share(const DenoisingOptions& options, uint64_t key);

/// What an image's error counts by its share of noise, [N]: diffusers' compute_loss_weighting_for_sd3, and with precondition_outputs the
/// square of the share, as the error then is that of the image instead of the velocity.
at::Tensor flow_loss_weights(const DenoisingOptions& options, const at::Tensor& sigmas_N);

}  // namespace lora::train
