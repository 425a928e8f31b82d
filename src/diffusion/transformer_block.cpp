// N images, T pixels of all of them, C channels, S positions of all texts, D channels of the text, H heads of E channels.
#include "diffusion/transformer_block.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/ops/gated_activation.h"
#include "lora/ops/rectangle_attention.h"

namespace lora::diffusion {

namespace {

constexpr double kNormEps = 1e-5;
constexpr int64_t kWidth = 4;  // the feed-forward block's channels, as a multiple

}  // namespace

BlockAttention::BlockAttention(const std::string& name, int64_t channels, int64_t state_channels, int64_t num_heads,
                               io::WeightSource& source, const at::TensorOptions& options)
    : q_(name + ".to_q", {channels, channels}, source, options),
      k_(name + ".to_k", {state_channels, channels}, source, options),
      v_(name + ".to_v", {state_channels, channels}, source, options),
      out_(name + ".to_out.0", {channels, channels, /*bias=*/true}, source, options),
      num_heads_(num_heads),
      scale_(1.0 / std::sqrt(static_cast<double>(channels) / static_cast<double>(num_heads))) {}

Tensor BlockAttention::attend(const Tensor& q_TC, const Tensor& k_SC, const Tensor& v_SC, int64_t images, const nn::Pass& pixels) const {
  const auto by_head = [&](const Tensor& x_TC) { return x_TC.view({images, -1, num_heads_, x_TC.size(1) / num_heads_}); };
  const Tensor out_NLHE = ops::rectangle_attention(by_head(q_TC), by_head(k_SC), by_head(v_SC), scale_);
  return out_.forward(out_NLHE.view(q_TC.sizes()), pixels);
}

Tensor BlockAttention::to_pixels(const Tensor& x_TC, int64_t images, const nn::Pass& pixels) const {
  const std::vector<Tensor> qkv = nn::project(x_TC, {&q_, &k_, &v_}, pixels);
  return attend(qkv[0], qkv[1], qkv[2], images, pixels);
}

Tensor BlockAttention::to_text(const Tensor& x_TC, const Tensor& text_SD, int64_t images, const nn::Pass& pixels,
                               const nn::Pass& text) const {
  const std::vector<Tensor> kv = nn::project(text_SD, {&k_, &v_}, text);
  return attend(q_.forward(x_TC, pixels), kv[0], kv[1], images, pixels);
}

std::vector<nn::Host*> BlockAttention::hosts() {
  return {&q_, &k_, &v_, &out_};
}

nn::Kept BlockAttention::kept_result() const {
  return nn::Kept{out_.in_features(), num_heads_} + nn::kept_by_project({&out_}, /*is_kept=*/true);
}

nn::Kept BlockAttention::kept_to_pixels() const {
  return nn::kept_by_project({&q_, &k_, &v_}) + nn::Kept{3 * q_.out_features(), 0} + kept_result();
}

nn::Kept BlockAttention::kept_to_text() const {
  return nn::kept_by_project({&q_}) + nn::Kept{q_.out_features(), 0} + kept_result();
}

nn::Kept BlockAttention::kept_of_text() const {
  return nn::Kept{2 * k_.out_features(), 0} + nn::kept_by_project({&k_, &v_}, /*is_kept=*/true);
}

TransformerBlock::TransformerBlock(const std::string& name, const TransformerShape& shape, io::WeightSource& source,
                                   const at::TensorOptions& options)
    : norm1_(name + ".norm1", {shape.channels, kNormEps}, source, options),
      to_pixels_(name + ".attn1", shape.channels, shape.channels, shape.num_heads, source, options),
      norm2_(name + ".norm2", {shape.channels, kNormEps}, source, options),
      to_text_(name + ".attn2", shape.channels, shape.text_channels, shape.num_heads, source, options),
      norm3_(name + ".norm3", {shape.channels, kNormEps}, source, options),
      ff_in_(name + ".ff.net.0.proj", {shape.channels, 2 * kWidth * shape.channels, /*bias=*/true}, source, options),
      ff_out_(name + ".ff.net.2", {kWidth * shape.channels, shape.channels, /*bias=*/true}, source, options) {}

Tensor TransformerBlock::forward(const Tensor& x_TC, const Tensor& text_SD, int64_t images, const ImagePass& pass) const {
  const nn::Pass pixels = pass.places(x_TC.size(0) / images), text = pass.places(text_SD.size(0) / images);
  const Tensor with_pixels_TC = x_TC + to_pixels_.to_pixels(norm1_.forward(x_TC), images, pixels);
  const Tensor with_text_TC = with_pixels_TC + to_text_.to_text(norm2_.forward(with_pixels_TC), text_SD, images, pixels, text);
  const auto feed = [this](const Tensor& input_TC, const nn::Pass& own) { return input_TC + feed_forward(norm3_.forward(input_TC), own); };
  return nn::recomputed(with_text_TC, pixels, nn::Recompute::kFeedForward, feed);
}

Tensor TransformerBlock::feed_forward(const Tensor& x_TC, const nn::Pass& pixels) const {
  return ff_out_.forward(ops::packed_gated_activation(ops::Activation::kGelu, ff_in_.forward(x_TC, pixels)), pixels);
}

std::vector<nn::Host*> TransformerBlock::hosts() {
  std::vector<nn::Host*> all{&norm1_};
  const std::vector<nn::Host*> of_pixels = to_pixels_.hosts(), of_text = to_text_.hosts();
  all.insert(all.end(), of_pixels.begin(), of_pixels.end());
  all.push_back(&norm2_);
  all.insert(all.end(), of_text.begin(), of_text.end());
  all.insert(all.end(), {&norm3_, &ff_in_, &ff_out_});
  return all;
}

nn::Kept TransformerBlock::kept(nn::Recompute recompute) const {
  const nn::Kept attentions = norm1_.kept() + to_pixels_.kept_to_pixels() + norm2_.kept() + to_text_.kept_to_text();
  if (recompute == nn::Recompute::kFeedForward) {
    return attentions + nn::Kept{channels(), 0};
  }
  const nn::Kept projection{ff_in_.out_features(), 0};
  return attentions + norm3_.kept() + nn::kept_by_project({&ff_in_}) + projection + nn::kept_by_project({&ff_out_});
}

}  // namespace lora::diffusion
