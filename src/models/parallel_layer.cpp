#include "parallel_layer.h"

#include <ATen/ATen.h>

namespace lora::models {

ParallelLayer::ParallelLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward,
                             std::unique_ptr<nn::Norm> attention_norm, std::unique_ptr<nn::Norm> feed_forward_norm,
                             const nn::Dropout& dropout)
    : attention_(std::move(attention)),
      feed_forward_(std::move(feed_forward)),
      attention_norm_(std::move(attention_norm)),
      feed_forward_norm_(std::move(feed_forward_norm)),
      dropout_(dropout) {}

Tensor ParallelLayer::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const Tensor normed_TD = attention_norm_->forward(x_TD);
  const Tensor attended_TD = attention_->forward(normed_TD, ropes, pass);
  const Tensor forwarded_TD =
      nn::recomputed(feed_forward_norm_ == nullptr ? normed_TD : x_TD, pass, nn::Recompute::kFeedForward,
                     [this](const Tensor& input_TD, const nn::Pass& pass) {
                       const bool shared = feed_forward_norm_ == nullptr;
                       return feed_forward_->forward(shared ? input_TD : feed_forward_norm_->forward(input_TD), pass);
                     });
  return x_TD + dropout_.forward(forwarded_TD + attended_TD, pass);
}

std::vector<nn::Host*> ParallelLayer::hosts() {
  std::vector<nn::Host*> all = attention_->hosts();
  const std::vector<nn::Host*> feed_forward = feed_forward_->hosts();
  all.insert(all.end(), feed_forward.begin(), feed_forward.end());
  all.push_back(attention_norm_.get());
  if (feed_forward_norm_ != nullptr) {
    all.push_back(feed_forward_norm_.get());
  }
  return all;
}

LayerMemory ParallelLayer::memory() const {
  const nn::Kept second_norm = feed_forward_norm_ == nullptr ? nn::Kept{} : nn::Kept{0, feed_forward_norm_->kept().floats};
  return {attention_norm_->kept() + attention_->kept(), second_norm + feed_forward_->kept(), feed_forward_->width()};
}

}  // namespace lora::models
