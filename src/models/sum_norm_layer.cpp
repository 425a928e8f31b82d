#include "models/sum_norm_layer.h"

#include <ATen/ATen.h>

namespace lora::models {

SumNormLayer::SumNormLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward,
                           std::unique_ptr<nn::Norm> attention_norm, std::unique_ptr<nn::Norm> feed_forward_norm)
    : attention_(std::move(attention)),
      feed_forward_(std::move(feed_forward)),
      attention_norm_(std::move(attention_norm)),
      feed_forward_norm_(std::move(feed_forward_norm)) {}

Tensor SumNormLayer::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const Tensor attended_TD = attention_norm_->forward(x_TD + attention_->forward(x_TD, ropes, pass));
  const auto feed = [this](const Tensor& attended_SD, const nn::Pass& pass) {
    return feed_forward_norm_->forward(attended_SD + feed_forward_->forward(attended_SD, pass));
  };
  return nn::recomputed(pass.needed(attended_TD), pass.of_needed(), nn::Recompute::kFeedForward, feed);
}

std::vector<nn::Host*> SumNormLayer::hosts() {
  std::vector<nn::Host*> all = attention_->hosts();
  all.push_back(attention_norm_.get());
  const std::vector<nn::Host*> feed_forward = feed_forward_->hosts();
  all.insert(all.end(), feed_forward.begin(), feed_forward.end());
  all.push_back(feed_forward_norm_.get());
  return all;
}

LayerMemory SumNormLayer::memory() const {
  return {attention_norm_->kept() + attention_->kept(), feed_forward_norm_->kept() + feed_forward_->kept(), feed_forward_->working()};
}

}  // namespace lora::models
