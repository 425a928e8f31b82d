#pragma once
#include <memory>

#include "models/blocks.h"

namespace lora::models {

/// Norms before and after the blocks; those before them may be null.
struct PostNorms {
  std::unique_ptr<nn::Norm> before_attention, after_attention, before_feed_forward, after_feed_forward;
};

/// x + norm(attention(norm(x))), then the same with the feed-forward block (Gemma 2 and 3; OLMo 2 has no inner norms).
class PostNormLayer : public DecoderLayer {
 public:
  PostNormLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward, PostNorms norms);

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;
  LayerMemory memory() const override;

 private:
  std::unique_ptr<AttentionBlock> attention_;
  std::unique_ptr<FeedForward> feed_forward_;
  PostNorms norms_;
};

}  // namespace lora::models
