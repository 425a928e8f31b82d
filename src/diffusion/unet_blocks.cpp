// N images, H and W their sizes, C and D channels.
#include "diffusion/unet_blocks.h"

#include <ATen/ATen.h>

namespace lora::diffusion {

namespace {

/// The name of a module in one of the block's lists.
std::string listed(const std::string& block, const std::string& list, size_t i) {
  return block + "." + list + "." + std::to_string(i);
}

UNetLayer make_layer(const std::string& block, size_t i, const UNetParts& parts, int64_t in, const UNetLevel& level, bool attends) {
  UNetLayer layer{parts.resnet(listed(block, "resnets", i), in, level.channels), nullptr};
  if (attends) {
    layer.attention = parts.attention(listed(block, "attentions", i), level);
  }
  return layer;
}

}  // namespace

std::unique_ptr<ResnetBlock> UNetParts::resnet(const std::string& name, int64_t in, int64_t out, double scale) const {
  const ResnetShape shape{.in_channels = in,
                          .out_channels = out,
                          .time_channels = config.time_dim(),
                          .num_groups = config.num_groups,
                          .norm_eps = config.norm_eps,
                          .dropout = config.dropout,
                          .scale = scale};
  return std::make_unique<ResnetBlock>(name, shape, source, options);
}

std::unique_ptr<ImageTransformer> UNetParts::attention(const std::string& name, const UNetLevel& level) const {
  const ImageTransformerShape shape{.block = {level.channels, config.cross_attention_dim, level.num_heads},
                                    .num_blocks = level.num_transformer_blocks,
                                    .num_groups = config.num_groups,
                                    .linear_projection = config.linear_projection};
  return std::make_unique<ImageTransformer>(name, shape, source, options);
}

std::unique_ptr<nn::Conv2d> UNetParts::resampler(const std::string& name, int64_t channels, int64_t stride) const {
  const nn::Conv2dShape shape{.in_channels = channels, .out_channels = channels, .kernel = 3, .steps = {.stride = stride, .padding = 1}};
  return std::make_unique<nn::Conv2d>(name + ".conv", shape, source, options);
}

Tensor UNetLayer::forward(const Tensor& x_NHWC, const Tensor& skip_NHWD, const UNetCall& call) const {
  std::vector<Tensor> inputs{call.time_NE, x_NHWC};
  if (skip_NHWD.defined()) {
    inputs.push_back(skip_NHWD);
  }
  const auto run = [this, pass = call.pass](const std::vector<Tensor>& given, const nn::Pass& own) {
    const Tensor x = given.size() == 2 ? given[1] : at::cat({given[1], given[2]}, 3);
    return resnet->forward(x, given[0], pass.with(own));
  };
  const Tensor y_NHWC = nn::recomputed(inputs, call.pass.images(), nn::Recompute::kLayers, run);
  return attention == nullptr ? y_NHWC : attention->forward(y_NHWC, call.text_SD, call.pass);
}

std::vector<nn::Host*> UNetBlock::hosts() const {
  std::vector<nn::Host*> all;
  const auto add = [&all](const std::vector<nn::Host*>& own) { all.insert(all.end(), own.begin(), own.end()); };
  for (const UNetLayer& layer : layers) {
    add(layer.attention == nullptr ? std::vector<nn::Host*>() : layer.attention->hosts());
  }
  for (const UNetLayer& layer : layers) {
    add(layer.resnet->hosts());
  }
  add(resampler == nullptr ? std::vector<nn::Host*>() : std::vector<nn::Host*>{resampler.get()});
  return all;
}

UNetBlock make_down_block(const std::string& name, const UNetParts& parts, int64_t in, const UNetLevel& level, bool is_last) {
  UNetBlock block;
  for (int64_t i = 0; i < level.num_layers; ++i) {
    block.layers.push_back(make_layer(name, static_cast<size_t>(i), parts, i == 0 ? in : level.channels, level, level.down_attends));
  }
  if (!is_last) {
    block.resampler = parts.resampler(name + ".downsamplers.0", level.channels, 2);
  }
  return block;
}

UNetBlock make_up_block(const std::string& name, const UNetParts& parts, int64_t in, const std::vector<int64_t>& skips,
                        const UNetLevel& level, bool is_last) {
  UNetBlock block;
  for (size_t i = 0; i < skips.size(); ++i) {
    block.layers.push_back(make_layer(name, i, parts, (i == 0 ? in : level.channels) + skips[i], level, level.up_attends));
  }
  if (!is_last) {
    block.resampler = parts.resampler(name + ".upsamplers.0", level.channels, 1);
  }
  return block;
}

}  // namespace lora::diffusion
