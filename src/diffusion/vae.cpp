// N images, C channels, H and W sides, T pixels of all images.
#include "lora/diffusion/vae.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "diffusion/resnet_block.h"
#include "diffusion/vae_config.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/io/tensor_facts.h"
#include "lora/nn/conv2d.h"
#include "lora/nn/group_norm.h"
#include "lora/nn/linear.h"

namespace lora::diffusion {
namespace {

constexpr double kVaeNormEps = 1e-6;
constexpr int64_t kRgb = 3;
constexpr double kBlack = -1.0;
constexpr double kMinLogVariance = -30.0, kMaxLogVariance = 20.0;  // DiagonalGaussianDistribution's

/// Where the modules of an autoencoder take their weights from.
struct VaeModules {
  const VaeConfig& config;
  io::WeightSource& source;
  const at::TensorOptions& options;

  std::unique_ptr<ResnetBlock> resnet(const std::string& name, int64_t in, int64_t out) const {
    return std::make_unique<ResnetBlock>(name, ResnetShape{in, out, /*time_channels=*/0, config.num_groups, kVaeNormEps}, source, options);
  }
  std::unique_ptr<nn::GroupNorm> norm(const std::string& name, int64_t channels, bool silu) const {
    return std::make_unique<nn::GroupNorm>(name, channels, ops::GroupNormOptions{config.num_groups, kVaeNormEps, silu}, source, options);
  }
  std::unique_ptr<nn::Conv2d> convolution(const std::string& name, int64_t in, int64_t out) const {
    return std::make_unique<nn::Conv2d>(name, nn::Conv2dShape{in, out}, source, options);
  }
  std::unique_ptr<nn::Conv2d> pixels(const std::string& name, int64_t channels) const {
    const nn::Conv2dShape shape{.in_channels = channels, .out_channels = channels, .kernel = 1, .steps = {.stride = 1, .padding = 0}};
    return std::make_unique<nn::Conv2d>(name, shape, source, options);
  }
  /// The convolution that halves an image's sides; its input has a row and a column of zeros more, at the bottom and on the right.
  std::unique_ptr<nn::Conv2d> downsampler(const std::string& name, int64_t channels) const {
    const nn::Conv2dShape shape{.in_channels = channels, .out_channels = channels, .kernel = 3, .steps = {.stride = 2, .padding = 0}};
    return std::make_unique<nn::Conv2d>(name, shape, source, options);
  }
};

/// Attention of one head between all pixels of an image.
class PixelAttention {
 public:
  PixelAttention(const std::string& name, int64_t channels, const VaeModules& modules)
      : norm_(modules.norm(name + ".group_norm", channels, /*silu=*/false)) {
    const nn::LinearShape shape{channels, channels, /*bias=*/true};
    for (const char* part : {".to_q", ".to_k", ".to_v", ".to_out.0"}) {
      projections_.push_back(std::make_unique<nn::Linear>(name + part, shape, modules.source, modules.options));
    }
  }

  Tensor forward(const Tensor& x_NHWC, const nn::Pass& pass) const {
    const Tensor normed_TC = norm_->forward(x_NHWC).flatten(0, 2);
    const auto part = [&](size_t i) {
      return projections_[i]->forward(normed_TC, pass).view({x_NHWC.size(0), 1, -1, x_NHWC.size(3)});
    };
    const Tensor seen_TC = at::scaled_dot_product_attention(part(0), part(1), part(2)).reshape(normed_TC.sizes());
    return x_NHWC + projections_[3]->forward(seen_TC, pass).view(x_NHWC.sizes());
  }

 private:
  std::unique_ptr<nn::GroupNorm> norm_;
  std::vector<std::unique_ptr<nn::Linear>> projections_;  ///< q, k, v and that of the result
};

/// resnets.0, attentions.0, resnets.1.
class MiddleBlock {
 public:
  MiddleBlock(const std::string& name, int64_t channels, const VaeModules& modules)
      : first_(modules.resnet(name + ".resnets.0", channels, channels)), last_(modules.resnet(name + ".resnets.1", channels, channels)) {
    if (modules.config.has_attention) {
      attention_ = std::make_unique<PixelAttention>(name + ".attentions.0", channels, modules);
    }
  }

  Tensor forward(const Tensor& x_NHWC, const ImagePass& pass) const {
    const Tensor h_NHWC = first_->forward(x_NHWC, Tensor(), pass);
    return last_->forward(attention_ == nullptr ? h_NHWC : attention_->forward(h_NHWC, pass.images()), Tensor(), pass);
  }

 private:
  std::unique_ptr<ResnetBlock> first_, last_;
  std::unique_ptr<PixelAttention> attention_;
};

/// Resnets of one resolution, and a convolution to the next resolution unless it is the last.
struct VaeBlock {
  std::vector<std::unique_ptr<ResnetBlock>> resnets;
  std::unique_ptr<nn::Conv2d> resampler;

  Tensor forward(const Tensor& x_NHWC, const ImagePass& pass) const {
    Tensor y_NHWC = x_NHWC;
    for (const std::unique_ptr<ResnetBlock>& resnet : resnets) {
      y_NHWC = resnet->forward(y_NHWC, Tensor(), pass);
    }
    return y_NHWC;
  }
};

VaeBlock make_block(const std::string& name, int64_t in, int64_t out, int64_t num_layers, const VaeModules& modules) {
  VaeBlock block;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    block.resnets.push_back(modules.resnet(name + ".resnets." + std::to_string(layer), layer == 0 ? in : out, out));
  }
  return block;
}

class VaeEncoder {
 public:
  explicit VaeEncoder(const VaeModules& modules) {
    const std::vector<int64_t>& channels = modules.config.channels;
    const int64_t last = channels.back(), moments = 2 * modules.config.latent_channels;
    conv_in_ = modules.convolution("encoder.conv_in", kRgb, channels.front());
    for (size_t i = 0; i < channels.size(); ++i) {
      const std::string name = "encoder.down_blocks." + std::to_string(i);
      blocks_.push_back(make_block(name, channels[i == 0 ? 0 : i - 1], channels[i], modules.config.num_layers, modules));
      if (i + 1 < channels.size()) {
        blocks_.back().resampler = modules.downsampler(name + ".downsamplers.0.conv", channels[i]);
      }
    }
    middle_ = std::make_unique<MiddleBlock>("encoder.mid_block", last, modules);
    norm_out_ = modules.norm("encoder.conv_norm_out", last, /*silu=*/true);
    conv_out_ = modules.convolution("encoder.conv_out", last, moments);
    quant_conv_ = modules.config.has_quant_conv ? modules.pixels("quant_conv", moments) : nullptr;
  }

  /// Means and log-variances, one after the other in the last dimension.
  Tensor forward(const Tensor& images_NHWC, const ImagePass& pass) const {
    Tensor x_NHWC = conv_in_->forward(images_NHWC, pass.images());
    for (const VaeBlock& block : blocks_) {
      x_NHWC = block.forward(x_NHWC, pass);
      if (block.resampler != nullptr) {
        x_NHWC = block.resampler->forward(at::constant_pad_nd(x_NHWC, {0, 0, 0, 1, 0, 1}), pass.images());
      }
    }
    const Tensor moments_NHWC = conv_out_->forward(norm_out_->forward(middle_->forward(x_NHWC, pass)), pass.images());
    return quant_conv_ == nullptr ? moments_NHWC : quant_conv_->forward(moments_NHWC, pass.images());
  }

 private:
  std::unique_ptr<nn::Conv2d> conv_in_, conv_out_, quant_conv_;
  std::vector<VaeBlock> blocks_;
  std::unique_ptr<MiddleBlock> middle_;
  std::unique_ptr<nn::GroupNorm> norm_out_;
};

class VaeDecoder {
 public:
  explicit VaeDecoder(const VaeModules& modules) {
    const std::vector<int64_t> channels(modules.config.channels.rbegin(), modules.config.channels.rend());
    const int64_t latents = modules.config.latent_channels;
    post_quant_conv_ = modules.config.has_post_quant_conv ? modules.pixels("post_quant_conv", latents) : nullptr;
    conv_in_ = modules.convolution("decoder.conv_in", latents, channels.front());
    middle_ = std::make_unique<MiddleBlock>("decoder.mid_block", channels.front(), modules);
    for (size_t i = 0; i < channels.size(); ++i) {
      const std::string name = "decoder.up_blocks." + std::to_string(i);
      blocks_.push_back(make_block(name, channels[i == 0 ? 0 : i - 1], channels[i], modules.config.num_layers + 1, modules));
      if (i + 1 < channels.size()) {
        blocks_.back().resampler = modules.convolution(name + ".upsamplers.0.conv", channels[i], channels[i]);
      }
    }
    norm_out_ = modules.norm("decoder.conv_norm_out", channels.back(), /*silu=*/true);
    conv_out_ = modules.convolution("decoder.conv_out", channels.back(), kRgb);
  }

  Tensor forward(const Tensor& latents_NHWC, const ImagePass& pass) const {
    const Tensor start_NHWC = post_quant_conv_ == nullptr ? latents_NHWC : post_quant_conv_->forward(latents_NHWC, pass.images());
    Tensor x_NHWC = middle_->forward(conv_in_->forward(start_NHWC, pass.images()), pass);
    for (const VaeBlock& block : blocks_) {
      x_NHWC = block.forward(x_NHWC, pass);
      if (block.resampler != nullptr) {
        const Tensor larger_NHWC = ops::nearest_resize(x_NHWC, 2 * x_NHWC.size(1), 2 * x_NHWC.size(2));
        x_NHWC = block.resampler->forward(larger_NHWC, pass.images());
      }
    }
    return conv_out_->forward(norm_out_->forward(x_NHWC), pass.images());
  }

 private:
  std::unique_ptr<nn::Conv2d> post_quant_conv_, conv_in_, conv_out_;
  std::unique_ptr<MiddleBlock> middle_;
  std::vector<VaeBlock> blocks_;
  std::unique_ptr<nn::GroupNorm> norm_out_;
};

void require_images(const Tensor& tensor, int64_t channels, int64_t multiple, const char* what) {
  const bool fits = tensor.dim() == 4 && tensor.size(1) == channels && tensor.size(2) % multiple == 0 && tensor.size(3) % multiple == 0;
  if (!fits || tensor.numel() == 0) {
    model_error("vae", std::string("was given ") + what + " of another shape: found " + io::shape_text(tensor.sizes()) +
                           ", expected [images, " + std::to_string(channels) + ", height, width] with sides that are multiples of " +
                           std::to_string(multiple));
  }
}

/// The values of channels, to be combined with [N, C, H, W].
Tensor for_channels(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).view({1, -1, 1, 1});
}

ImagePass frozen_pass() {
  return ImagePass(nn::evaluation_pass(nn::Batch()));
}

}  // namespace

struct Vae::Impl {
  VaeConfig config;
  at::TensorOptions options;
  std::unique_ptr<VaeEncoder> encoder;
  std::unique_ptr<VaeDecoder> decoder;

  Tensor to_rows(const Tensor& images_NCHW) const { return images_NCHW.to(options).permute({0, 2, 3, 1}).contiguous(); }
};

Vae::Vae(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options, VaeParts parts)
    : impl_(std::make_unique<Impl>()) {
  impl_->config = read_vae_config(config, where);
  impl_->options = options;
  const VaeModules modules{impl_->config, source, options};
  impl_->encoder = parts == VaeParts::kDecoder ? nullptr : std::make_unique<VaeEncoder>(modules);
  impl_->decoder = parts == VaeParts::kEncoder ? nullptr : std::make_unique<VaeDecoder>(modules);
}

Vae::~Vae() = default;
Vae::Vae(Vae&&) noexcept = default;

int64_t Vae::latent_channels() const {
  return impl_->config.latent_channels;
}

int64_t Vae::downscale() const {
  return int64_t{1} << (impl_->config.channels.size() - 1);
}

LatentDistribution Vae::encode(const Tensor& images_N3HW) const {
  const at::NoGradGuard no_grad;
  require_images(images_N3HW, kRgb, downscale(), "images");
  const VaeConfig& config = impl_->config;
  const Tensor moments_NHWC = impl_->encoder->forward(impl_->to_rows(images_N3HW), frozen_pass());
  const Tensor moments_NCHW = moments_NHWC.to(at::kFloat).permute({0, 3, 1, 2}).contiguous();
  if (!at::isfinite(moments_NCHW).all().item<bool>()) {
    model_error("vae", "computes latents that are not finite: the weights are damaged, or overflow in this dtype. Use float32.");
  }
  const std::vector<Tensor> halves = moments_NCHW.chunk(2, 1);
  Tensor mean_NCHW = halves[0], log_variance_NCHW = halves[1].clamp(kMinLogVariance, kMaxLogVariance) + 2 * std::log(config.scaling);
  if (!config.mean.empty()) {
    const Tensor deviation = for_channels(config.deviation).to(mean_NCHW.device());
    mean_NCHW = (mean_NCHW - for_channels(config.mean).to(mean_NCHW.device())) / deviation;
    log_variance_NCHW = log_variance_NCHW - 2 * deviation.log();
  }
  return {(mean_NCHW - config.shift) * config.scaling, log_variance_NCHW};
}

Tensor Vae::decode(const Tensor& latents_NCHW) const {
  const at::NoGradGuard no_grad;
  require_images(latents_NCHW, latent_channels(), 1, "latents");
  const VaeConfig& config = impl_->config;
  Tensor z_NCHW = latents_NCHW.to(at::kFloat) / config.scaling + config.shift;
  if (!config.mean.empty()) {
    z_NCHW = z_NCHW * for_channels(config.deviation).to(z_NCHW.device()) + for_channels(config.mean).to(z_NCHW.device());
  }
  const Tensor images_NHWC = impl_->decoder->forward(impl_->to_rows(z_NCHW), frozen_pass());
  const Tensor images_NCHW = images_NHWC.to(at::kFloat).permute({0, 3, 1, 2}).contiguous();
  if (at::isfinite(images_NCHW).all().item<bool>()) {
    return images_NCHW;
  }
  log::warn("[vae] computes pixels that are not finite, which become black: the network's latents are not finite, or numbers overflow in "
            "this dtype");
  return images_NCHW.nan_to_num(kBlack, kBlack, kBlack);
}

}  // namespace lora::diffusion
