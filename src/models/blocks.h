#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "models/decoder.h"
#include "lora/nn/linear.h"

namespace lora::models {

/// The half of a layer in which tokens see each other: takes the normed x_TD and returns what is added to the residual stream.
class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;
  virtual Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const = 0;
  /// In transformers' order.
  virtual std::vector<nn::Host*> hosts() = 0;
  /// Kept per token, with the adapters in use, in addition to the layer's own.
  virtual nn::Kept kept() const = 0;
};

/// The half that treats each token separately; input and output as above.
class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const = 0;
  virtual std::vector<nn::Host*> hosts() = 0;
  virtual nn::Kept kept() const = 0;
  /// Channels of its intermediate activation.
  virtual int64_t width() const = 0;
  /// Elements per token in use while it runs: gradients in backward, in forward the intermediate activation.
  virtual int64_t working() const { return 3 * width(); }
};

}  // namespace lora::models
