// N images, H and W their sizes, C channels, E channels of the timestep's embedding, S positions of all texts, D channels of the text.
#include "lora/diffusion/unet.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "diffusion/time_embedding.h"
#include "diffusion/unet_blocks.h"
#include "diffusion/unet_config.h"
#include "diffusion/unet_memory.h"
#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "lora/nn/denoiser.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kTimeIds = 6;

class UNet : public nn::Body, public nn::Denoiser {
 public:
  UNet(UNetConfig config, io::WeightSource& source, const at::TensorOptions& options);

  Tensor predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                 const nn::Pass& pass) const override;
  int64_t latent_channels() const override { return config_.in_channels; }

  /// A denoiser is called with what its objective has drawn.
  Tensor hidden(const nn::Pass&) const override { throw std::logic_error("a UNet predicts from latents: call Denoiser::predict"); }
  int64_t hidden_size() const override { return config_.out_channels; }
  std::vector<nn::Host*> hosts() override { return modules(); }
  std::vector<nn::Parameter> base_parameters() const override;
  /// Those of diffusers' training scripts.
  std::vector<std::string> default_target_modules() const override { return {"to_q", "to_k", "to_v", "to_out.0"}; }
  int64_t vocab_size() const override { return 0; }
  at::ScalarType dtype() const override { return at::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const override { return options_.device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;
  bool keeps_keys(int64_t, int64_t) const override { return false; }

 private:
  std::vector<nn::Host*> modules() const;
  void make_up_blocks(const UNetParts& parts, std::vector<int64_t> skips);
  /// Throws model Error for inputs of other shapes than the network's.
  void require_shapes(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const;
  /// silu of the embedding of timesteps and SDXL's conditions.
  Tensor embedding(const Tensor& timesteps_N, const nn::ImageCondition& condition, const nn::Pass& images) const;
  Tensor run_mid(const Tensor& x_NHWC, const UNetCall& call) const;
  Tensor run_up(const Tensor& x_NHWC, std::vector<Tensor> skips, const UNetCall& call) const;

  UNetConfig config_;
  at::TensorOptions options_;
  Sinusoid sinusoid_, added_sinusoid_;
  std::unique_ptr<nn::Conv2d> conv_in_, conv_out_;
  std::unique_ptr<TimeEmbedding> time_, added_;  ///< added_ null: none
  std::vector<UNetBlock> down_, up_;
  UNetBlock mid_;  ///< two layers, the first of which attends; none: no layers
  std::unique_ptr<nn::GroupNorm> norm_out_;
};

UNet::UNet(UNetConfig config, io::WeightSource& source, const at::TensorOptions& options)
    : config_(std::move(config)),
      options_(options),
      sinusoid_{config_.levels.front().channels, config_.cosine_first, config_.freq_shift},
      added_sinusoid_{config_.added ? config_.added->time_embed_dim : 0, config_.cosine_first, config_.freq_shift} {
  const std::vector<UNetLevel>& levels = config_.levels;
  const UNetParts parts{config_, source, options};
  const int64_t first = levels.front().channels;
  conv_in_ = std::make_unique<nn::Conv2d>("conv_in", nn::Conv2dShape{config_.in_channels, first}, source, options);
  time_ = std::make_unique<TimeEmbedding>("time_embedding", first, config_.time_dim(), source, options);
  if (config_.added) {
    added_ = std::make_unique<TimeEmbedding>("add_embedding", config_.added->input_dim, config_.time_dim(), source, options);
  }
  std::vector<int64_t> skips{first};
  for (size_t i = 0; i < levels.size(); ++i) {
    const bool is_last = i + 1 == levels.size();
    down_.push_back(make_down_block("down_blocks." + std::to_string(i), parts, skips.back(), levels[i], is_last));
    skips.insert(skips.end(), static_cast<size_t>(levels[i].num_layers + (is_last ? 0 : 1)), levels[i].channels);
  }
  if (config_.has_mid_block) {
    const int64_t last = levels.back().channels;
    const auto resnet = [&](int i) { return parts.resnet("mid_block.resnets." + std::to_string(i), last, last, config_.mid_scale); };
    mid_.layers.push_back({resnet(0), parts.attention("mid_block.attentions.0", levels.back())});
    mid_.layers.push_back({resnet(1), nullptr});
  }
  make_up_blocks(parts, std::move(skips));
  norm_out_ = std::make_unique<nn::GroupNorm>(
      "conv_norm_out", first, ops::GroupNormOptions{config_.num_groups, config_.norm_eps, /*silu=*/true}, source, options);
  conv_out_ = std::make_unique<nn::Conv2d>("conv_out", nn::Conv2dShape{first, config_.out_channels}, source, options);
}

void UNet::make_up_blocks(const UNetParts& parts, std::vector<int64_t> skips) {
  const size_t count = config_.levels.size();
  int64_t in = config_.levels.back().channels;
  for (size_t i = 0; i < count; ++i) {
    const UNetLevel& level = config_.levels[count - 1 - i];
    const auto own = static_cast<std::ptrdiff_t>(level.num_layers + 1);
    const std::vector<int64_t> taken(skips.rbegin(), skips.rbegin() + own);
    skips.erase(skips.end() - own, skips.end());
    up_.push_back(make_up_block("up_blocks." + std::to_string(i), parts, in, taken, level, i + 1 == count));
    in = level.channels;
  }
}

Tensor UNet::embedding(const Tensor& timesteps_N, const nn::ImageCondition& condition, const nn::Pass& images) const {
  Tensor emb_NE = time_->forward(sinusoid_.of(timesteps_N).to(options_), images);
  if (added_ != nullptr) {
    const Tensor ids = added_sinusoid_.of(condition.time_ids_N6.flatten()).view({timesteps_N.size(0), -1}).to(options_);
    emb_NE = emb_NE + added_->forward(at::cat({condition.pooled_NP.to(options_), ids}, 1), images);
  }
  return at::silu(emb_NE);
}

void UNet::require_shapes(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const {
  const auto require = [](const char* what, const Tensor& tensor, const std::vector<int64_t>& expected) {
    if (!tensor.defined() || tensor.sizes() != expected) {
      model_error("unet", std::string("was given inputs of another model: found ") + what + " " +
                              (tensor.defined() ? io::shape_text(tensor.sizes()) : "missing") + ", expected " + io::shape_text(expected));
    }
  };
  const auto size = [](const Tensor& tensor, int64_t dim) { return tensor.defined() && dim < tensor.dim() ? tensor.size(dim) : 0; };
  const int64_t images = size(latents_NCHW, 0);
  require("latents", latents_NCHW, {images, config_.in_channels, size(latents_NCHW, 2), size(latents_NCHW, 3)});
  require("text states", condition.states_NSD, {images, size(condition.states_NSD, 1), config_.cross_attention_dim});
  if (config_.added) {
    require("pooled text", condition.pooled_NP, {images, config_.added->input_dim - kTimeIds * config_.added->time_embed_dim});
    require("time ids", condition.time_ids_N6, {images, kTimeIds});
  }
}

Tensor UNet::predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                     const nn::Pass& pass) const {
  require_shapes(latents_NCHW, condition);
  const ImagePass images(pass);
  const UNetCall call{embedding(timesteps_N, condition, pass), condition.states_NSD.flatten(0, 1).to(options_), images};
  const Tensor sample_NHWC = latents_NCHW.to(options_).permute({0, 2, 3, 1}).contiguous();
  const auto pixels_of = [&images](const Tensor& x_NHWC) { return images.places(x_NHWC.size(1) * x_NHWC.size(2)); };
  Tensor x_NHWC = conv_in_->forward(sample_NHWC, pixels_of(sample_NHWC));
  std::vector<Tensor> skips{x_NHWC};
  for (const UNetBlock& block : down_) {
    for (const UNetLayer& layer : block.layers) {
      x_NHWC = layer.forward(x_NHWC, {}, call);
      skips.push_back(x_NHWC);
    }
    if (block.resampler != nullptr) {
      x_NHWC = block.resampler->forward(x_NHWC, pixels_of(x_NHWC));
      skips.push_back(x_NHWC);
    }
  }
  for (const UNetLayer& layer : mid_.layers) {
    x_NHWC = layer.forward(x_NHWC, {}, call);
  }
  x_NHWC = run_up(x_NHWC, std::move(skips), call);
  const Tensor normed_NHWC = norm_out_->forward(x_NHWC);
  return conv_out_->forward(normed_NHWC, pixels_of(normed_NHWC)).permute({0, 3, 1, 2}).contiguous();
}

/// An image takes the size of the next block's first skip, which is not twice its own if a side was odd on the way down.
Tensor UNet::run_up(const Tensor& x_NHWC, std::vector<Tensor> skips, const UNetCall& call) const {
  Tensor y_NHWC = x_NHWC;
  for (const UNetBlock& block : up_) {
    for (const UNetLayer& layer : block.layers) {
      y_NHWC = layer.forward(y_NHWC, skips.back(), call);
      skips.pop_back();
    }
    if (block.resampler != nullptr) {
      const int64_t height = skips.back().size(1), width = skips.back().size(2);
      y_NHWC = block.resampler->forward(ops::nearest_resize(y_NHWC, height, width), call.pass.places(height * width));
    }
  }
  return y_NHWC;
}

std::vector<nn::Host*> UNet::modules() const {
  std::vector<nn::Host*> all{conv_in_.get()};
  const auto add = [&all](const std::vector<nn::Host*>& own) { all.insert(all.end(), own.begin(), own.end()); };
  add(time_->hosts());
  if (added_ != nullptr) {
    add(added_->hosts());
  }
  for (const std::vector<UNetBlock>* blocks : {&down_, &up_}) {
    for (const UNetBlock& block : *blocks) {
      add(block.hosts());
    }
  }
  add(mid_.hosts());
  add({norm_out_.get(), conv_out_.get()});
  return all;
}

std::vector<nn::Parameter> UNet::base_parameters() const {
  return nn::base_parameters_of(modules());
}

nn::PassMemory UNet::pass_memory(nn::Recompute recompute) const {
  return unet_memory(down_, mid_, up_, dtype(), recompute);
}

}  // namespace

nn::Model make_unet(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options) {
  nn::Model model;
  model.body = std::make_unique<UNet>(read_unet_config(config, where), source, options);
  return model;
}

}  // namespace lora::diffusion
