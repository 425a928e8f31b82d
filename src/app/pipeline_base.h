#pragma once
#include <memory>
#include <optional>
#include <string>

#include "app/backend.h"
#include "lora/diffusion/training_schedule.h"
#include "lora/diffusion/pipeline.h"

namespace lora::app {

/// Where a text-to-image pipeline lies, and what replaces parts of it.
diffusion::PipelineOptions pipeline_options(const models::ModelOptions& model);

/// nn::open_device with room for the compiled products of images (ops/compiled_products.h).
at::Device open_image_device(const models::ModelOptions& model);

/// Loads the network of a pipeline that removes noise, as a base model. Throws what diffusion::Pipeline throws, and model Error for a
/// weight that is missing, has another shape or holds a non-finite value. Warns of weights that the network does not have.
models::BaseModel open_denoiser(const BaseRequest& request);

/// The schedule that a pipeline's network is trained by, of the config of its scheduler.
/// @param zero_snr replaces rescale_betas_zero_snr there; none: as that says. Throws config Error if it is given for
/// flow matching.
std::shared_ptr<const diffusion::TrainingSchedule> pipeline_schedule(const models::ModelOptions& model, std::optional<bool> zero_snr);

}  // namespace lora::app
