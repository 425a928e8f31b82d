#pragma once
#include <memory>
#include <string>

#include "models/blocks.h"
#include "lora/nn/dropout.h"

namespace lora::models {

/// x + (feed_forward(norm(x)) + attention(norm(x))): both blocks read the layer's input (Wang & Komatsuzaki 2021, GPT-J).
class ParallelLayer : public DecoderLayer {
 public:
  /// @param feed_forward_norm null: both blocks share the attention's. @param dropout of the sum of the blocks.
  ParallelLayer(std::unique_ptr<AttentionBlock> attention, std::unique_ptr<FeedForward> feed_forward,
                std::unique_ptr<nn::Norm> attention_norm, std::unique_ptr<nn::Norm> feed_forward_norm,
                const nn::Dropout& dropout = nn::Dropout("", 0.0));

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;
  LayerMemory memory() const override;

 private:
  std::unique_ptr<AttentionBlock> attention_;
  std::unique_ptr<FeedForward> feed_forward_;
  std::unique_ptr<nn::Norm> attention_norm_, feed_forward_norm_;
  nn::Dropout dropout_;
};

}  // namespace lora::models
