#include "models/dropped_blocks.h"

#include "lora/nn/dropout.h"

namespace lora::models {

namespace {

class DroppedAttention : public AttentionBlock {
 public:
  DroppedAttention(std::unique_ptr<AttentionBlock> block, const nn::Dropout& dropout) : block_(std::move(block)), dropout_(dropout) {}

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override {
    return dropout_.forward(block_->forward(x_TD, ropes, pass), pass);
  }
  std::vector<nn::Host*> hosts() override { return block_->hosts(); }
  nn::Kept kept() const override { return block_->kept(); }

 private:
  std::unique_ptr<AttentionBlock> block_;
  nn::Dropout dropout_;
};

class DroppedFeedForward : public FeedForward {
 public:
  DroppedFeedForward(std::unique_ptr<FeedForward> block, const nn::Dropout& dropout) : block_(std::move(block)), dropout_(dropout) {}

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override { return dropout_.forward(block_->forward(x_TD, pass), pass); }
  std::vector<nn::Host*> hosts() override { return block_->hosts(); }
  nn::Kept kept() const override { return block_->kept(); }
  int64_t width() const override { return block_->width(); }
  int64_t working() const override { return block_->working(); }

 private:
  std::unique_ptr<FeedForward> block_;
  nn::Dropout dropout_;
};

}  // namespace

std::unique_ptr<AttentionBlock> with_dropout(std::unique_ptr<AttentionBlock> block, const std::string& name, double rate) {
  return rate == 0.0 ? std::move(block) : std::make_unique<DroppedAttention>(std::move(block), nn::Dropout(name, rate));
}

std::unique_ptr<FeedForward> with_dropout(std::unique_ptr<FeedForward> block, const std::string& name, double rate) {
  return rate == 0.0 ? std::move(block) : std::make_unique<DroppedFeedForward>(std::move(block), nn::Dropout(name, rate));
}

}  // namespace lora::models
