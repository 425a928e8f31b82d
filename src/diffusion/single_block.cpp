// N images, X rows, L rows of one image, C channels, H heads of E channels, F channels of the feed-forward block.
#include "diffusion/single_block.h"

#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/adaptive_norm.h"
#include "lora/ops/gated_activation.h"
#include "lora/ops/rectangle_attention.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kSingleFeedWidth = 4;  // channels of the feed-forward block, as a multiple
constexpr StreamAttention::Names kSingleNames{"to_q", "to_k", "to_v", nullptr, "norm_q", "norm_k"};

}  // namespace

SingleBlock::SingleBlock(const std::string& name, const JointShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : channels_(shape.channels()),
      scale_(1.0 / std::sqrt(static_cast<double>(shape.head_dim))),
      norm_(name + ".norm.linear", {channels_, 3 * channels_, /*bias=*/true}, source, options),
      attention_(name + ".attn", kSingleNames, shape, source, options),
      in_(name + ".proj_mlp", {channels_, kSingleFeedWidth * channels_, /*bias=*/true}, source, options),
      out_(name + ".proj_out", {(1 + kSingleFeedWidth) * channels_, channels_, /*bias=*/true}, source, options) {}

Tensor SingleBlock::forward(const Tensor& rows_XC, const Tensor& embedding_NC, const RotaryTables& rope, const ImagePass& pass) const {
  const int64_t images = embedding_NC.size(0);
  const nn::Pass rows = pass.places(rows_XC.size(0) / images);
  const Tensor all_NX = norm_.forward(embedding_NC, pass.images());
  const std::vector<Tensor> changes = all_NX.split(channels_, /*dim=*/1);  // shift, scale, gate
  const Tensor normed_XC = modulated_norm(rows_XC, /*scale_NC=*/changes[1], /*shift_NC=*/changes[0]);
  const StreamAttention::Heads heads = attention_.heads(normed_XC, images, rows);
  const Tensor result_NLHE = ops::rectangle_attention(rotated(heads.q_NLHE, rope), rotated(heads.k_NLHE, rope), heads.v_NLHE, scale_);
  const auto feed = [this](const Tensor& input_XC, const nn::Pass& own) {
    return ops::activation(ops::Activation::kGeluTanh, in_.forward(input_XC, own));
  };
  const Tensor fed_XF = nn::recomputed(normed_XC, rows, nn::Recompute::kFeedForward, feed);
  const Tensor joined = at::cat({result_NLHE.reshape({-1, channels_}), fed_XF}, 1);
  return rows_XC + gated(out_.forward(joined, rows), changes[2]);
}

std::vector<nn::Host*> SingleBlock::hosts() const {
  std::vector<nn::Host*> all{const_cast<nn::Linear*>(&norm_)};
  const std::vector<nn::Host*> own = attention_.hosts();
  all.insert(all.end(), own.begin(), own.end());
  all.insert(all.end(), {const_cast<nn::Linear*>(&in_), const_cast<nn::Linear*>(&out_)});
  return all;
}

/// The norm's input, its result, the modulated one, and the result before the gate.
nn::Kept SingleBlock::kept(nn::Recompute recompute) const {
  const nn::Kept feed = recompute >= nn::Recompute::kFeedForward
                            ? nn::Kept{}
                            : nn::kept_by_project({&in_}, /*is_kept=*/true) + nn::Kept{in_.out_features(), 0};
  return nn::Kept{4 * channels_, 2} + attention_.kept() + feed + nn::kept_by_project({&out_});
}

/// The feed-forward block's intermediate and its gradient; of a recomputed block all that it keeps too.
nn::Kept SingleBlock::working(nn::Recompute recompute) const {
  const nn::Kept alive{2 * in_.out_features(), 0};
  return recompute >= nn::Recompute::kLayers ? alive + kept(nn::Recompute::kNothing) : alive;
}

}  // namespace lora::diffusion
