#include "app/pipeline_encoders.h"

#include <ATen/ATen.h>

#include <map>
#include <optional>

#include "app/image_pipeline.h"
#include "app/pipeline_base.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/diffusion/text_encoders.h"
#include "lora/diffusion/vae.h"
#include "lora/io/dtype_name.h"

namespace lora::app {

namespace {

using diffusion::Pipeline;

/// What a component computes depends on: its config and its weights.
std::string identity_of(const Pipeline& pipeline, const std::string& component) {
  return pipeline.config(component).json.dump() + pipeline.weights(component)->fingerprint();
}

/// "tokenizer_2" for "text_encoder_2".
std::string tokenizer_of(const std::string& text_encoder) {
  return "tokenizer" + text_encoder.substr(std::string_view("text_encoder").size());
}

std::string identity_of_tokenizer(const Pipeline& pipeline, const std::string& text_encoder) {
  std::string identity;
  for (const std::filesystem::path& file : pipeline.files(tokenizer_of(text_encoder))) {
    identity += sha256_of_file(file, ErrorKind::kModel);
  }
  return identity;
}

}  // namespace

struct PipelineEncoders::Impl {
  Pipeline pipeline;
  models::ModelOptions model;
  data::ImageEncoders functions;
  std::optional<diffusion::Vae> vae;
  std::optional<diffusion::CaptionTokenizers> tokenizers;
  std::optional<diffusion::TextEncoders> text_encoders;
  int64_t num_cut_captions = 0;

  explicit Impl(const models::ModelOptions& options) : pipeline(pipeline_options(options)), model(options) {}

  at::Device device() const { return open_image_device(model); }
  at::ScalarType text_dtype() const {
    const std::string first = pipeline.text_encoders().front();
    return models::computing_dtype(model.dtype, pipeline.config(first).reader(), pipeline.weights(first)->stored_dtype());
  }

  data::LatentMoments encode_image(const at::Tensor& pixels_3HW) {
    const at::NoGradGuard no_grad;
    if (!vae) {
      const diffusion::ComponentConfig config = pipeline.config(diffusion::kVae);
      const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(diffusion::kVae);
      vae.emplace(config.json, config.where, *weights, at::TensorOptions(at::kFloat).device(device()), diffusion::VaeParts::kEncoder);
    }
    const diffusion::LatentDistribution found = vae->encode(pixels_3HW.unsqueeze(0).to(device()));
    return {found.mean_NCHW[0].cpu(), found.log_variance_NCHW[0].cpu()};
  }

  data::CaptionStates encode_caption(const std::string& caption) {
    const at::NoGradGuard no_grad;
    if (!text_encoders) {
      tokenizers.emplace(pipeline);
      text_encoders.emplace(pipeline, at::TensorOptions(text_dtype()).device(device()));
    }
    const diffusion::CaptionIds ids = tokenizers->encode(caption);
    if (ids.num_cut > 0) {
      warn_of_cut(caption, ids.num_cut);
    }
    const nn::ImageCondition found = text_encoders->encode({ids});
    return {found.states_NSD[0].cpu(), found.pooled_NP.defined() ? found.pooled_NP[0].cpu() : at::Tensor()};
  }

  /// Warns of the first few captions of a run only.
  void warn_of_cut(const std::string& caption, int64_t count) {
    constexpr int64_t kMostCaptions = 5;
    if (++num_cut_captions <= kMostCaptions) {
      log::warn("the text encoders do not see the last " + std::to_string(count) + " tokens of a caption: " + printable(caption, 100) +
                (num_cut_captions == kMostCaptions ? ". Further captions of this kind are not listed." : ""));
    }
  }

  std::string caption_identity() const {
    std::string identity = io::dtype_name(text_dtype());
    if (pipeline.clip_skip() != 1) {
      identity += "clip_skip" + std::to_string(pipeline.clip_skip());
    }
    for (const std::string& encoder : pipeline.text_encoders()) {
      identity += identity_of(pipeline, encoder) + identity_of_tokenizer(pipeline, encoder);
    }
    return sha256(identity);
  }
};

PipelineEncoders::PipelineEncoders(const models::ModelOptions& model, std::filesystem::path cache) : impl_(std::make_unique<Impl>(model)) {
  Impl& own = *impl_;
  own.functions.encode_image = [&own](const at::Tensor& pixels_3HW) { return own.encode_image(pixels_3HW); };
  own.functions.encode_caption = [&own](const std::string& caption) { return own.encode_caption(caption); };
  own.functions.image_identity = sha256(identity_of(own.pipeline, diffusion::kVae) + "float32");
  own.functions.caption_identity = own.caption_identity();
  own.functions.cache = std::move(cache);
  const int64_t side = default_side(own.pipeline, own.functions.side_multiple);
  own.functions.resolution = {side, side};
  own.functions.takes_time_ids = own.pipeline.family() == diffusion::PipelineFamily::kStableDiffusionXl;
}

PipelineEncoders::~PipelineEncoders() = default;

const data::ImageEncoders& PipelineEncoders::functions() const {
  return impl_->functions;
}

Json encoder_hashes(const models::ModelOptions& model) {
  const Pipeline pipeline(pipeline_options(model));
  std::vector<std::string> components{diffusion::kVae};
  for (const std::string& encoder : pipeline.text_encoders()) {
    components.insert(components.end(), {encoder, tokenizer_of(encoder)});
  }
  Json hashes = Json::object();
  std::map<std::filesystem::path, std::string> known;  // components of a single file share it
  for (const std::string& component : components) {
    for (const std::filesystem::path& file : pipeline.files(component)) {
      std::string& hash = known[file];
      hash = hash.empty() ? sha256_of_file(file, ErrorKind::kModel) : hash;
      hashes[component + "/" + file.filename().string()] = hash;
    }
  }
  return hashes;
}

}  // namespace lora::app
