#include "app/pipeline_base.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/diffusion/network.h"
#include "lora/models/packed_modules.h"
#include "lora/nn/device.h"
#include "lora/nn/packed_weights.h"
#include "lora/ops/compiled_products.h"
#include "lora/quantization/quantizing_source.h"

namespace lora::app {

namespace {

using at::Tensor;

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

/// The network, with packed projections if the request says so. Those of UNets stay plain, because most of a UNet is convolutions.
nn::Model build_network(const BaseRequest& request, const std::string& network, const diffusion::ComponentConfig& config,
                        io::WeightSource& weights, const at::TensorOptions& options) {
  if (!request.model.quantises()) {
    return diffusion::make_network(network, config, weights, options);
  }
  if (network != diffusion::kTransformer) {
    config_error("model.quantization", "found a value for " + request.model.path.string() +
                                           ", expected null: only transformers (Stable Diffusion 3, FLUX.1) are quantised");
  }
  const at::ScalarType dtype = at::typeMetaToScalarType(options.dtype());
  quantization::QuantizingSource quantizing(weights, models::loading_options(request.model, dtype, /*inputs_first=*/false));
  nn::Model model = diffusion::make_network(network, config, quantizing, options);
  models::warn_of_unmatched(quantizing.plain_modules());
  return model;
}

/// Reads weights as they are in the pipeline's files, for LoftQ.
std::function<Tensor(const std::string& name)> plain_weights_of(std::shared_ptr<const io::Checkpoint> weights, at::ScalarType dtype) {
  return [weights = std::move(weights), dtype](const std::string& name) { return weights->tensor(name).to(dtype); };
}

/// The pipeline's network with the weights of `source`.
models::BaseModel make_denoiser(const diffusion::Pipeline& pipeline, const BaseRequest& request, io::WeightSource& source,
                                at::ScalarType stored) {
  const std::string network = pipeline.network();
  const diffusion::ComponentConfig config = pipeline.config(network);
  const at::ScalarType dtype = models::computing_dtype(request.model.dtype, config.reader(), stored);
  models::BaseModel base;
  const at::TensorOptions options = at::TensorOptions(dtype).device(open_image_device(request.model));
  base.model = std::make_unique<nn::Model>(build_network(request, network, config, source, options));
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
  const std::shared_ptr<io::Checkpoint> weights = pipeline.weights(pipeline.network());
  // Before loading, which drops the pages of what it quantises.
  const std::string fingerprint = weights->fingerprint();
  models::BaseModel base = make_denoiser(pipeline, request, *weights, weights->stored_dtype());
  add_files(pipeline.files(base.component), base.files);
  base.fingerprint = fingerprint;
  warn_of_unused_weights(*weights);
  models::require_finite_weights(*base.model, weights->path().string());
  base.quantization = nn::packed_weights(*base.model).text();
  if (request.model.quantises()) {
    base.plain_weight = plain_weights_of(weights, base.model->dtype());
  }
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
  options.clip_skip = model.clip_skip;
  return options;
}

at::Device open_image_device(const models::ModelOptions& model) {
  ops::cache_compiled_products(ops::kProductsOfImages);
  return nn::open_device(model.device);
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
