#include "lora/diffusion/pipeline.h"

#include "diffusion/component_folder.h"
#include "diffusion/ldm_names.h"
#include "diffusion/pipeline_layout.h"
#include "diffusion/viewed_checkpoint.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/diffusion/training_schedule.h"

namespace lora::diffusion {

namespace {

/// Refuses options that have no effect on this kind of pipeline.
void require_used_options(const PipelineOptions& options) {
  std::error_code ignored;
  if (is_folder(options.path) && !options.config.empty() && !fs::equivalent(options.config, options.path, ignored)) {
    config_error("model.tokenizer", "found " + options.config.string() + " for the pipeline in " + options.path.string() +
                                        ", expected no such key, because the folder of a pipeline has its own tokenizers");
  }
  if (!is_folder(options.path) && !options.variant.empty()) {
    config_error("model.variant", "found " + options.variant + " for " + options.path.string() +
                                      ", expected no such key, because a single file has no variants");
  }
}

std::unique_ptr<PipelineLayout> open_layout(const PipelineOptions& options) {
  std::error_code ignored;
  if (!fs::exists(options.path, ignored)) {
    model_error(options.path.string(), "there is nothing at this path, expected the folder of a pipeline or a .safetensors file");
  }
  require_used_options(options);
  if (is_folder(options.path)) {
    return open_pipeline_folder(options);
  }
  if (options.path.extension() != ".safetensors") {
    model_error(options.path.string(), "found a file of another kind, expected .safetensors, because pickled weights can run code when "
                                       "they are read. Convert it once, or use a folder in diffusers' layout.");
  }
  return open_single_file(options);
}

/// An autoencoder that replaces a pipeline's: a folder, or a file under diffusers' or Stability's names.
class OtherVae {
 public:
  explicit OtherVae(const fs::path& path) : path_(path) {
    if (is_folder(path) && !is_file(path / "config.json") && is_folder(path / kVae)) {
      path_ = path / kVae;
    }
  }

  bool is_file_only() const { return !is_folder(path_); }
  ComponentConfig config() const { return read_component_config({path_, kVae, ""}); }
  fs::path config_path() const { return config_file({path_, kVae, ""}); }

  std::unique_ptr<io::Checkpoint> weights() const {
    if (!is_file_only()) {
      return open_component_weights({path_, kVae, ""});
    }
    auto stored = std::make_shared<io::SafetensorsCheckpoint>(path_.has_parent_path() ? path_.parent_path() : fs::path("."),
                                                              io::WeightFileNames{path_.filename().string(), ""});
    const std::string prefix = "first_stage_model.";
    const bool has_prefix = stored->contains(prefix + "encoder.conv_in.weight");
    return std::make_unique<ViewedCheckpoint>(path_, stored, autoencoder_views(stored->names(), has_prefix ? prefix : ""));
  }

 private:
  fs::path path_;
};

}  // namespace

struct Pipeline::Impl {
  explicit Impl(PipelineOptions given) : options(std::move(given)), layout(open_layout(options)), vae(options.vae) {}

  bool has_other_vae(const std::string& component) const { return component == kVae && !options.vae.empty(); }

  PipelineOptions options;
  std::unique_ptr<PipelineLayout> layout;
  OtherVae vae;
};

Pipeline::Pipeline(PipelineOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;

PipelineFamily Pipeline::family() const {
  return impl_->layout->family();
}

bool Pipeline::is_version_2() const {
  return family() == PipelineFamily::kStableDiffusion && config(kUnet).reader().boolean("use_linear_projection", false);
}

const fs::path& Pipeline::path() const {
  return impl_->options.path;
}

int64_t Pipeline::clip_skip() const {
  return impl_->options.clip_skip;
}

bool Pipeline::is_single_file() const {
  return !is_folder(impl_->options.path);
}

bool Pipeline::forces_zeros_for_empty_prompt() const {
  return impl_->layout->forces_zeros_for_empty_prompt();
}

bool Pipeline::has(const std::string& component) const {
  return impl_->has_other_vae(component) || impl_->layout->has(component);
}

const char* Pipeline::network() const {
  return family() == PipelineFamily::kStableDiffusion || family() == PipelineFamily::kStableDiffusionXl ? kUnet : kTransformer;
}

std::vector<std::string> Pipeline::text_encoders() const {
  switch (family()) {
    case PipelineFamily::kStableDiffusion:
      return {"text_encoder"};
    case PipelineFamily::kStableDiffusionXl:
    case PipelineFamily::kFlux:
      return {"text_encoder", "text_encoder_2"};
    case PipelineFamily::kStableDiffusion3:
      break;
  }
  return {"text_encoder", "text_encoder_2", "text_encoder_3"};
}

ComponentConfig Pipeline::config(const std::string& component) const {
  if (impl_->has_other_vae(component) && !impl_->vae.is_file_only()) {
    return impl_->vae.config();
  }
  ComponentConfig config = impl_->layout->config(component);
  if (component != kScheduler) {
    return config;
  }
  if (!impl_->options.prediction_type.empty()) {
    if (is_flow_matching(config.reader())) {
      config_error("model.prediction_type", "found " + impl_->options.prediction_type +
                                                ", expected no such key: networks that are trained by flow matching predict one thing");
    }
    config.json["prediction_type"] = impl_->options.prediction_type;
  } else if (is_single_file() && is_version_2() && !config.json.contains("prediction_type")) {
    model_error(path().string(), "does not say what the model predicts, expected epsilon (Stable Diffusion 2 base, 512 pixels) or "
                                 "v_prediction (768 pixels). Set model.prediction_type.");
  }
  return config;
}

std::unique_ptr<io::Checkpoint> Pipeline::weights(const std::string& component) const {
  return impl_->has_other_vae(component) ? impl_->vae.weights() : impl_->layout->weights(component);
}

std::vector<TensorView> Pipeline::views(const std::string& component) const {
  return impl_->has_other_vae(component) ? std::vector<TensorView>() : impl_->layout->views(component);
}

std::unique_ptr<tokenizer::Tokenizer> Pipeline::tokenizer(const std::string& component) const {
  return tokenizer::load_tokenizer(impl_->layout->tokenizer_folder(component));
}

std::vector<fs::path> Pipeline::files(const std::string& component) const {
  if (component.starts_with("tokenizer")) {
    return tokenizer(component)->files();
  }
  std::vector<fs::path> files;
  if (!impl_->has_other_vae(component)) {
    files = impl_->layout->config_files(component);
  } else if (!impl_->vae.is_file_only()) {
    files = {impl_->vae.config_path()};
  }
  if (component != kScheduler) {
    const std::vector<fs::path> of_weights = weights(component)->files();
    files.insert(files.end(), of_weights.begin(), of_weights.end());
  }
  return files;
}

}  // namespace lora::diffusion
