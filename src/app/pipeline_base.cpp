#include "app/pipeline_base.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/diffusion/network.h"
#include "lora/nn/device.h"

namespace lora::app {

namespace {

/// The standard deviation of random weights, transformers' for language models.
constexpr double kRandomWeights = 0.02;

void warn_of_unused_weights(const io::Checkpoint& weights) {
  const std::vector<std::string> unused = weights.unused();
  if (!unused.empty()) {
    log::warn("[" + weights.path().string() + "] " + std::to_string(unused.size()) +
              " tensors are not used by this network: " + join(unused, ", ", 2));
  }
}

void add_files(const std::vector<std::filesystem::path>& more, std::vector<std::filesystem::path>& files) {
  for (const std::filesystem::path& file : more) {
    if (std::find(files.begin(), files.end(), file) == files.end()) {
      files.push_back(file);
    }
  }
}

/// The pipeline's network with the weights of `source`.
models::BaseModel make_denoiser(const diffusion::Pipeline& pipeline, const BaseRequest& request, io::WeightSource& source,
                                at::ScalarType stored) {
  const std::string network = pipeline.network();
  const diffusion::ComponentConfig config = pipeline.config(network);
  const at::ScalarType dtype = models::computing_dtype(request.model.dtype, config.reader(), stored);
  models::BaseModel base;
  base.model = std::make_unique<nn::Model>(diffusion::make_network(
      network, config, source, at::TensorOptions(dtype).device(nn::open_device(request.model.device))));
  base.config = config.json;
  base.component = network;
  base.model_type = config.json.value("_class_name", network);
  return base;
}

models::BaseModel random_denoiser(const diffusion::Pipeline& pipeline, const BaseRequest& request) {
  io::RandomSource source(request.seed, kRandomWeights);
  models::BaseModel base = make_denoiser(pipeline, request, source, at::kFloat);
  base.files.emplace_back(pipeline.config(base.component).where);
  return base;
}

models::BaseModel stored_denoiser(const diffusion::Pipeline& pipeline, const BaseRequest& request) {
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(pipeline.network());
  models::BaseModel base = make_denoiser(pipeline, request, *weights, weights->stored_dtype());
  add_files(pipeline.files(base.component), base.files);
  base.fingerprint = weights->fingerprint();
  warn_of_unused_weights(*weights);
  models::require_finite_weights(*base.model, weights->path().string());
  return base;
}

}  // namespace

diffusion::PipelineOptions pipeline_options(const models::ModelOptions& model) {
  diffusion::PipelineOptions options;
  options.path = model.path;
  options.variant = model.variant;
  options.vae = model.vae;
  options.config = model.tokenizer == model.path ? std::filesystem::path() : model.tokenizer;
  options.prediction_type = model.prediction_type;
  return options;
}

models::BaseModel open_denoiser(const BaseRequest& request) {
  const diffusion::Pipeline pipeline(pipeline_options(request.model));
  const at::NoGradGuard no_grad;
  models::BaseModel base = request.model.from_scratch ? random_denoiser(pipeline, request) : stored_denoiser(pipeline, request);
  add_files(pipeline.files(diffusion::kScheduler), base.files);
  return base;
}

std::shared_ptr<const diffusion::TrainingSchedule> pipeline_schedule(const models::ModelOptions& model, std::optional<bool> zero_snr) {
  diffusion::ComponentConfig config = diffusion::Pipeline(pipeline_options(model)).config(diffusion::kScheduler);
  if (zero_snr && diffusion::is_flow_matching(config.reader())) {
    config_error("training.rescale_betas_zero_snr", "found a value, expected no such key: the pipeline is trained by flow matching, whose "
                                                    "last timestep is nothing but noise anyway");
  }
  if (zero_snr) {
    config.json["rescale_betas_zero_snr"] = *zero_snr;
  }
  return diffusion::make_training_schedule(config.reader());
}

}  // namespace lora::app
