#include "models/parallel_layer.h"

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
  const Tensor attended_SD = pass.needed(attention_->forward(normed_TD, ropes, pass));
  const nn::Pass rest = pass.of_needed();
  const auto feed = [this](const Tensor& input_SD, const nn::Pass& pass) {
    return feed_forward_->forward(feed_forward_norm_ == nullptr ? input_SD : feed_forward_norm_->forward(input_SD), pass);
  };
  const Tensor forwarded_SD =
      nn::recomputed(pass.needed(feed_forward_norm_ == nullptr ? normed_TD : x_TD), rest, nn::Recompute::kFeedForward, feed);
  return pass.needed(x_TD) + dropout_.forward(forwarded_SD + attended_SD, rest);
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
  return {attention_norm_->kept() + attention_->kept(), second_norm + feed_forward_->kept(), feed_forward_->working()};
}

}  // namespace lora::models
