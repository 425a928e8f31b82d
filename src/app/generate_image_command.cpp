#include "lora/app/generate_image_command.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "app/adapter_folders.h"
#include "app/image_pipeline.h"
#include "app/inference.h"
#include "app/open_adapter.h"
#include "app/pipeline_base.h"
#include "app/result_inputs.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/result_file.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/image/encode_png.h"
#include "lora/nn/adapters.h"
#include "lora/nn/low_rank.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

constexpr int64_t kMaxImageSide = 16384;

void require_weights(const GenerateImageRequest& request) {
  if (!request.weights.empty() && request.weights.size() != request.inference.adapters.size()) {
    config_error("--weight", "found " + std::to_string(request.weights.size()) + ", expected one for each of the " +
                                 std::to_string(request.inference.adapters.size()) + " --adapter, in the same order, or none");
  }
  for (const double weight : request.weights) {
    if (!std::isfinite(weight)) {
      config_error("--weight", "found " + std::to_string(weight) + ", expected a finite number");
    }
  }
}

/// @param given 0: the model's.
int64_t side_of(int64_t given, const char* flag, const diffusion::Pipeline& pipeline, int64_t downscale) {
  const int64_t side = given == 0 ? default_side(pipeline, downscale) : given;
  if (const int64_t step = side_step(pipeline, downscale); side < 1 || side % step != 0 || side > kMaxImageSide) {
    config_error(flag, "found " + std::to_string(side) + ", expected a multiple of " + std::to_string(step) + " up to " +
                           std::to_string(kMaxImageSide));
  }
  return side;
}

ImageOptions image_options(const GenerateImageRequest& request, const diffusion::Pipeline& pipeline, int64_t downscale) {
  ImageOptions options;
  options.sampler = diffusion::kSamplerKinds.find(request.sampler);
  if (!options.sampler && !request.sampler.empty()) {
    config_error("--sampler", "found '" + request.sampler + "', expected one of " + join(diffusion::kSamplerKinds.names()));
  }
  options.steps = request.steps;
  options.guidance = request.guidance.value_or(default_guidance(pipeline));
  if (!std::isfinite(options.guidance) || options.guidance < 0) {
    config_error("--guidance", "found " + std::to_string(options.guidance) + ", expected a finite number of at least 0");
  }
  require_no_negative(pipeline, request.negative_prompt, "--negative-prompt");
  options.width = side_of(request.width, "--width", pipeline, downscale);
  options.height = side_of(request.height, "--height", pipeline, downscale);
  options.seed = request.seed;
  return options;
}

/// An adapter's weight multiplies its scale, as PEFT's set_scale does, which only low-rank pairs have.
void weigh_adapter(nn::Model& model, const std::string& name, double weight, const std::string& folder) {
  if (weight == 1.0) {
    return;
  }
  const auto of_adapter = [&name](const nn::BaseWeight& replaced) { return replaced.adapter_in_use() == name; };
  const auto has_no_scale = [&name](const std::unique_ptr<nn::Attachment>& attachment) {
    return attachment->adapter == name && dynamic_cast<const nn::LowRank*>(attachment.get()) == nullptr;
  };
  for (const nn::Host* host : model.hosts()) {
    if (std::any_of(host->attachments().begin(), host->attachments().end(), has_no_scale) ||
        std::any_of(host->weights().begin(), host->weights().end(), of_adapter)) {
      config_error("--weight", "found " + std::to_string(weight) + " for " + folder + ", which changes '" + host->name() +
                                   "' in a way that has no scale, expected 1: it can be merged with lora-merge instead");
    }
  }
  nn::scale_adapter(model, name, weight);
}

std::vector<std::string> adapter_names(const GenerateImageRequest& request) {
  std::vector<std::string> names;
  for (size_t i = 0; i < request.inference.adapters.size(); ++i) {
    names.push_back("adapter" + std::to_string(i + 1));
  }
  return names;
}

/// The request without the names of its adapters, which nothing refers to, as all are used at once.
GenerateImageRequest without_names(GenerateImageRequest request) {
  for (std::string& adapter : request.inference.adapters) {
    adapter = adapter_folder(adapter).string();
  }
  return request;
}

double weight_of(const GenerateImageRequest& request, size_t adapter) {
  return request.weights.empty() ? 1.0 : request.weights[adapter];
}

void warn_of_cut(const char* flag, int64_t count) {
  if (count > 0) {
    log::warn("[" + std::string(flag) + "] is longer than the text encoders see: its last " + std::to_string(count) +
              " tokens have no effect");
  }
}

/// The prompts' states, with those adapters of the text encoders that lie in the adapters' folders. The encoders are then freed.
diffusion::EncodedPrompt encode_with_adapters(const GenerateImageRequest& request, const std::vector<fs::path>& folders,
                                              const diffusion::Pipeline& pipeline, const ImageOptions& options,
                                              const at::Device& device) {
  diffusion::TextEncoders encoders(pipeline, at::TensorOptions(at::kFloat).device(device));
  const std::vector<std::string> components = pipeline.text_encoders(), names = adapter_names(request);
  std::vector<std::unique_ptr<peft::Method>> attached;
  for (size_t i = 0; i < components.size(); ++i) {
    std::vector<std::string> used;
    nn::Model& model = encoders.models()[i];
    for (size_t a = 0; a < names.size(); ++a) {
      const fs::path folder = folders[a] / components[i];
      if (!fs::exists(folder)) {
        continue;
      }
      peft::MethodOptions own = config::read_adapter_folder(folder);
      own->keeps_base = true;
      const peft::BaseReference base(components[i], pipeline.weights(components[i])->fingerprint(), request.inference.allow_other_base);
      attached.push_back(peft::attach_adapter(own, model, base, /*seed=*/0, names[a]));
      weigh_adapter(model, names[a], weight_of(request, a), request.inference.adapters[a]);
      used.push_back(names[a]);
    }
    nn::use_adapters(model, used);
  }
  const diffusion::ImagePrompt prompt{request.prompt, request.negative_prompt, options.height, options.width};
  const diffusion::EncodedPrompt encoded = diffusion::encode_prompt(pipeline, encoders, prompt);
  warn_of_cut("--prompt", encoded.num_cut);
  warn_of_cut("--negative-prompt", encoded.num_cut_negative);
  return encoded;
}

at::Tensor sample_with_adapters(const GenerateImageRequest& request, const std::vector<fs::path>& folders,
                                const diffusion::Pipeline& pipeline, const diffusion::EncodedPrompt& prompt, const ImageOptions& options,
                                int64_t downscale, const at::Device& device) {
  InferenceRequest named = request.inference;
  named.adapters.clear();
  const std::vector<std::string> names = adapter_names(request);
  std::vector<std::string> used;
  for (size_t a = 0; a < names.size(); ++a) {
    if (fs::exists(folders[a] / peft::kAdapterConfigFile) || !is_adapter_of_text_encoders(folders[a])) {
      named.adapters.push_back(names[a] + "=" + folders[a].string());
      used.push_back(names[a]);
    }
  }
  const InferenceParts parts = open_inference(named, train::ObjectiveKind::kDenoising);
  for (size_t a = 0; a < names.size(); ++a) {
    weigh_adapter(*parts.base.model, names[a], weight_of(request, a), request.inference.adapters[a]);
  }
  nn::use_adapters(*parts.base.model, used);
  return sample_image(dynamic_cast<const nn::Denoiser&>(*parts.base.model->body), pipeline, prompt, options, downscale, device);
}

}  // namespace

int generate_image_command(const GenerateImageRequest& given) {
  const GenerateImageRequest request = without_names(given);
  require_weights(request);
  const models::ModelOptions model = model_options(request.inference, train::ObjectiveKind::kDenoising);
  std::vector<fs::path> inputs{model.path};
  inputs.insert(inputs.end(), request.inference.adapters.begin(), request.inference.adapters.end());
  const ResultFile output(request.output, inputs);
  const AdapterFolders adapters(request.inference.adapters);
  const at::Device device = open_image_device(model);
  const diffusion::Pipeline pipeline(pipeline_options(model));
  const diffusion::Vae vae = open_decoder(pipeline, device);
  const ImageOptions options = image_options(request, pipeline, vae.downscale());
  const at::Tensor latents = adapters.with_given_names([&] {
    const diffusion::EncodedPrompt prompt = encode_with_adapters(request, adapters.folders(), pipeline, options, device);
    return sample_with_adapters(request, adapters.folders(), pipeline, prompt, options, vae.downscale(), device);
  });
  const at::Tensor decoded_3HW = vae.decode(latents)[0];
  if (!at::isfinite(decoded_3HW).all().item<bool>()) {
    model_error(model.path.string(), "gives an image with values that are not finite. Likely cause: --dtype float16, or an adapter that is "
                                     "too strong. Use --dtype bfloat16 or float32, or a lower --weight.");
  }
  output.write(image::encode_png(to_bytes(decoded_3HW)));
  log::info("wrote " + output.name() + ": " + std::to_string(options.width) + " x " + std::to_string(options.height) + " pixels, " +
            std::to_string(options.steps) + " steps, seed " + std::to_string(options.seed));
  return 0;
}

}  // namespace lora::app
