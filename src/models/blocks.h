#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "decoder.h"
#include "lora/nn/linear.h"

namespace lora::models {

/// The half of a layer in which tokens see each other: x_TD, normed, → what is added to the residual stream.
class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;
  virtual Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const = 0;
  /// In transformers' order.
  virtual std::vector<nn::Host*> hosts() = 0;
  /// Of a token, with the adapters in use, beside the layer's own.
  virtual nn::Kept kept() const = 0;
};

/// The half that takes each token by itself, likewise.
class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const = 0;
  virtual std::vector<nn::Host*> hosts() = 0;
  virtual nn::Kept kept() const = 0;
  /// Channels of its middle.
  virtual int64_t width() const = 0;
  /// Elements of a token that are at work within it: in backward gradients, in forward the middle itself.
  virtual int64_t working() const { return 3 * width(); }
};

}  // namespace lora::models
