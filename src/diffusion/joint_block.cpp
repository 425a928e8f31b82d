// N images, T rows of their patches, S rows of their texts, L rows of one image, C channels, H heads of E channels, X rows of any kind.
#include "diffusion/joint_block.h"

#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/adaptive_norm.h"
#include "lora/ops/gated_activation.h"
#include "lora/ops/rectangle_attention.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kFeedWidth = 4;  // channels of the feed-forward block, as a multiple
constexpr double kHeadNormEps = 1e-6;
constexpr StreamAttention::Names kPatchNames{"to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"};
constexpr StreamAttention::Names kTextNames{"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm_added_q", "norm_added_k"};
constexpr StreamAttention::Names kLastTextNames{"add_q_proj", "add_k_proj", "add_v_proj", nullptr, "norm_added_q", "norm_added_k"};

// In the order of the projection that gives them. A block with a second attention has shift, scale and gate of that one too; the text's
// of the last block are only scale and shift.
enum Change : size_t { kShift, kScale, kGate, kFeedShift, kFeedScale, kFeedGate, kSecondShift, kSecondScale, kSecondGate };
constexpr int64_t kChanges = 6, kChangesWithSecond = 9, kChangesOfLastText = 2;

}  // namespace

GeluFeedForward::GeluFeedForward(const std::string& name, int64_t channels, io::WeightSource& source, const at::TensorOptions& options)
    : in_(name + ".net.0.proj", {channels, kFeedWidth * channels, /*bias=*/true}, source, options),
      out_(name + ".net.2", {kFeedWidth * channels, channels, /*bias=*/true}, source, options) {}

Tensor GeluFeedForward::forward(const Tensor& x_TC, const nn::Pass& rows) const {
  const auto feed = [this](const Tensor& input_TC, const nn::Pass& own) {
    return out_.forward(ops::activation(ops::Activation::kGeluTanh, in_.forward(input_TC, own)), own);
  };
  return nn::recomputed(x_TC, rows, nn::Recompute::kFeedForward, feed);
}

nn::Kept GeluFeedForward::kept(nn::Recompute recompute) const {
  const nn::Kept input{in_.in_features(), 0};
  if (recompute >= nn::Recompute::kFeedForward) {
    return input;
  }
  return input + nn::kept_by_project({&in_}, /*is_kept=*/true) + nn::Kept{in_.out_features(), 0} + nn::kept_by_project({&out_});
}

StreamAttention::StreamAttention(const std::string& name, const Names& names, const JointShape& shape, io::WeightSource& source,
                                 const at::TensorOptions& options)
    : num_heads_(shape.num_heads),
      head_dim_(shape.head_dim),
      q_(name + "." + names.q, {shape.channels(), shape.channels(), /*bias=*/true}, source, options),
      k_(name + "." + names.k, {shape.channels(), shape.channels(), /*bias=*/true}, source, options),
      v_(name + "." + names.v, {shape.channels(), shape.channels(), /*bias=*/true}, source, options) {
  if (names.out != nullptr) {
    const nn::LinearShape square{shape.channels(), shape.channels(), /*bias=*/true};
    out_ = std::make_unique<nn::Linear>(name + "." + names.out, square, source, options);
  }
  if (shape.norms_queries) {
    norm_q_ = std::make_unique<nn::RmsNorm>(name + "." + names.norm_q, head_dim_, kHeadNormEps, source, options);
    norm_k_ = std::make_unique<nn::RmsNorm>(name + "." + names.norm_k, head_dim_, kHeadNormEps, source, options);
  }
}

Tensor StreamAttention::by_head(const Tensor& x_TC, int64_t images, const nn::RmsNorm* norm) const {
  const Tensor heads = norm == nullptr ? x_TC : norm->forward(x_TC.reshape({-1, head_dim_}));
  return heads.reshape({images, -1, num_heads_, head_dim_});
}

StreamAttention::Heads StreamAttention::heads(const Tensor& x_TC, int64_t images, const nn::Pass& rows) const {
  const std::vector<Tensor> qkv = nn::project(x_TC, {&q_, &k_, &v_}, rows);
  return {by_head(qkv[0], images, norm_q_.get()), by_head(qkv[1], images, norm_k_.get()), by_head(qkv[2], images, nullptr)};
}

Tensor StreamAttention::project_out(const Tensor& result_NLHE, const nn::Pass& rows) const {
  return out_->forward(result_NLHE.reshape({-1, num_heads_ * head_dim_}), rows);
}

std::vector<nn::Host*> StreamAttention::hosts() const {
  std::vector<nn::Host*> all;
  for (const nn::Host* host : std::initializer_list<const nn::Host*>{norm_q_.get(), norm_k_.get(), &q_, &k_, &v_, out_.get()}) {
    if (host != nullptr) {
      all.push_back(const_cast<nn::Host*>(host));
    }
  }
  return all;
}

nn::Kept StreamAttention::kept() const {
  const int64_t channels = num_heads_ * head_dim_, copies = norm_q_ == nullptr ? 4 : 6;
  nn::Kept kept = nn::kept_by_project({&q_, &k_, &v_}) + nn::Kept{copies * channels, 3 * num_heads_};
  return out_ == nullptr ? kept : kept + nn::kept_by_project({out_.get()}, /*is_kept=*/true);
}

JointBlock::JointBlock(const std::string& name, const JointShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : shape_(shape),
      scale_(1.0 / std::sqrt(static_cast<double>(shape.head_dim))),
      norm1_(name + ".norm1.linear",
             {shape.channels(), shape.channels() * (shape.has_second_attention ? kChangesWithSecond : kChanges), /*bias=*/true}, source,
             options),
      norm1_context_(name + ".norm1_context.linear",
                     {shape.channels(), shape.channels() * (shape.is_last ? kChangesOfLastText : kChanges), /*bias=*/true},
                     source, options),
      of_patches_(name + ".attn", kPatchNames, shape, source, options),
      of_text_(name + ".attn", shape.is_last ? kLastTextNames : kTextNames, shape, source, options),
      feed_(name + ".ff", shape.channels(), source, options) {
  if (shape.has_second_attention) {
    second_ = std::make_unique<StreamAttention>(name + ".attn2", kPatchNames, shape, source, options);
  }
  if (!shape.is_last) {
    feed_text_ = std::make_unique<GeluFeedForward>(name + ".ff_context", shape.channels(), source, options);
  }
}

Tensor JointBlock::fed(const GeluFeedForward& feed, const Tensor& x_TC, const Tensor* changes, const nn::Pass& rows) const {
  return x_TC + gated(feed.forward(modulated_norm(x_TC, changes[kFeedScale], changes[kFeedShift]), rows), changes[kFeedGate]);
}

Tensor JointBlock::text_after(const Tensor& text_SC, const Tensor& result_NLHE, const std::vector<Tensor>& changes,
                              const nn::Pass& text) const {
  const Tensor attended_SC = text_SC + gated(of_text_.project_out(result_NLHE, text), changes[kGate]);
  return fed(*feed_text_, attended_SC, changes.data(), text);
}

Tensor JointBlock::forward(const Tensor& rows_XC, int64_t text_rows, const Tensor& embedding_NC, const ImagePass& pass,
                           const RotaryTables& rope) const {
  const int64_t images = embedding_NC.size(0), patch_rows = rows_XC.size(0) - text_rows;
  const nn::Pass patches = pass.places(patch_rows / images), text = pass.places(text_rows / images);
  const Tensor x_TC = rows_XC.narrow(0, 0, patch_rows), text_SC = rows_XC.narrow(0, patch_rows, text_rows);
  const auto changes_of = [&](const nn::Linear& host) {
    const Tensor all_NX = host.forward(embedding_NC, pass.images());
    return all_NX.split(shape_.channels(), /*dim=*/1);
  };
  const std::vector<Tensor> changes = changes_of(norm1_), of_text = changes_of(norm1_context_);
  // The last block's text has its scale first.
  const size_t scale = shape_.is_last ? kShift : kScale, shift = shape_.is_last ? kScale : kShift;
  const StreamAttention::Heads of_image = of_patches_.heads(modulated_norm(x_TC, changes[kScale], changes[kShift]), images, patches);
  const StreamAttention::Heads of_words = of_text_.heads(modulated_norm(text_SC, of_text[scale], of_text[shift]), images, text);
  const auto joined = [](const Tensor& one_NLHE, const Tensor& other_NLHE) { return at::cat({one_NLHE, other_NLHE}, 1); };
  const Tensor result_NLHE =
      ops::rectangle_attention(rotated(joined(of_image.q_NLHE, of_words.q_NLHE), rope),
                               rotated(joined(of_image.k_NLHE, of_words.k_NLHE), rope),
                               joined(of_image.v_NLHE, of_words.v_NLHE), scale_);
  const int64_t patch_count = patch_rows / images, text_count = text_rows / images;
  Tensor y_TC = x_TC + gated(of_patches_.project_out(result_NLHE.narrow(1, 0, patch_count), patches), changes[kGate]);
  if (second_ != nullptr) {
    const StreamAttention::Heads own = second_->heads(modulated_norm(x_TC, changes[kSecondScale], changes[kSecondShift]), images, patches);
    const Tensor alone_NLHE = ops::rectangle_attention(own.q_NLHE, own.k_NLHE, own.v_NLHE, scale_);
    y_TC = y_TC + gated(second_->project_out(alone_NLHE, patches), changes[kSecondGate]);
  }
  y_TC = fed(feed_, y_TC, changes.data(), patches);
  return shape_.is_last ? y_TC : at::cat({y_TC, text_after(text_SC, result_NLHE.narrow(1, patch_count, text_count), of_text, text)});
}

std::vector<nn::Host*> JointBlock::hosts() const {
  std::vector<nn::Host*> all{const_cast<nn::Linear*>(&norm1_), const_cast<nn::Linear*>(&norm1_context_)};
  const auto add = [&all](const std::vector<nn::Host*>& own) { all.insert(all.end(), own.begin(), own.end()); };
  add(of_patches_.hosts());
  add(of_text_.hosts());
  if (second_ != nullptr) {
    add(second_->hosts());
  }
  add(const_cast<GeluFeedForward&>(feed_).hosts());
  if (feed_text_ != nullptr) {
    add(feed_text_->hosts());
  }
  return all;
}

/// Each branch keeps the input and the output of its norm, the modulated output, and its own result before the gate.
nn::Kept JointBlock::kept_of_patch(nn::Recompute recompute) const {
  const nn::Kept branch{4 * channels(), 2};
  const nn::Kept second = second_ == nullptr ? nn::Kept{} : branch + second_->kept();
  return branch + of_patches_.kept() + second + branch + feed_.kept(recompute);
}

nn::Kept JointBlock::kept_of_text(nn::Recompute recompute) const {
  const nn::Kept branch{4 * channels(), 2};
  return branch + of_text_.kept() + (feed_text_ == nullptr ? nn::Kept{} : branch + feed_text_->kept(recompute));
}

/// The feed-forward block's intermediate and its gradient; of a recomputed block all that it keeps too.
nn::Kept JointBlock::working(nn::Recompute recompute) const {
  const nn::Kept alive{2 * feed_.width(), 0};
  return recompute >= nn::Recompute::kLayers ? alive + kept_of_patch(nn::Recompute::kNothing) : alive;
}

}  // namespace lora::diffusion
