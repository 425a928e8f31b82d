// T tokens, D hidden size.
#include "models/post_norm_layer.h"

#include <ATen/ATen.h>

namespace lora::models {

namespace {

Tensor normed(const Tensor& x_TD, const std::unique_ptr<nn::Norm>& norm) {
  return norm == nullptr ? x_TD : norm->forward(x_TD);
}

}  // namespace

PostNormLayer::PostNormLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward, PostNorms norms)
    : attention_(std::move(attention)), feed_forward_(std::move(feed_forward)), norms_(std::move(norms)) {}

Tensor PostNormLayer::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const Tensor attention_TD = attention_->forward(normed(x_TD, norms_.before_attention), ropes, pass);
  const Tensor attended_TD = x_TD + norms_.after_attention->forward(attention_TD);
  const auto feed = [this](const Tensor& attended_SD, const nn::Pass& pass) {
    const Tensor fed_SD = feed_forward_->forward(normed(attended_SD, norms_.before_feed_forward), pass);
    return attended_SD + norms_.after_feed_forward->forward(fed_SD);
  };
  return nn::recomputed(pass.needed(attended_TD), pass.of_needed(), nn::Recompute::kFeedForward, feed);
}

std::vector<nn::Host*> PostNormLayer::hosts() {
  std::vector<nn::Host*> all = attention_->hosts();
  const std::vector<nn::Host*> feed_forward = feed_forward_->hosts();
  all.insert(all.end(), feed_forward.begin(), feed_forward.end());
  for (const auto* norm : {&norms_.before_attention, &norms_.after_attention, &norms_.before_feed_forward, &norms_.after_feed_forward}) {
    if (*norm != nullptr) {
      all.push_back(norm->get());
    }
  }
  return all;
}

LayerMemory PostNormLayer::memory() const {
  const auto both = [](const std::unique_ptr<nn::Norm>& before, const nn::Norm& after) {
    return after.kept() + (before == nullptr ? nn::Kept{} : before->kept());
  };
  return {both(norms_.before_attention, *norms_.after_attention) + attention_->kept(),
          both(norms_.before_feed_forward, *norms_.after_feed_forward) + feed_forward_->kept(), feed_forward_->working()};
}

}  // namespace lora::models
