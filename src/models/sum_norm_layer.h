#pragma once
#include <memory>

#include "models/blocks.h"

namespace lora::models {

/// norm(x + attention(x)), then the same with the feed-forward block: the layers of the first transformer and of BERT.
class SumNormLayer : public DecoderLayer {
 public:
  SumNormLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward,
               std::unique_ptr<nn::Norm> attention_norm, std::unique_ptr<nn::Norm> feed_forward_norm);

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;
  LayerMemory memory() const override;

 private:
  std::unique_ptr<AttentionBlock> attention_;
  std::unique_ptr<FeedForward> feed_forward_;
  std::unique_ptr<nn::Norm> attention_norm_, feed_forward_norm_;
};

}  // namespace lora::models
