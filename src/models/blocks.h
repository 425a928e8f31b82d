#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/nn/attention.h"
#include "lora/nn/linear.h"
#include "lora/nn/norm.h"
#include "lora/nn/rope.h"

namespace lora::models {

using at::Tensor;

/// The tables of each of the model's rotary embeddings, for one pass.
using RopeSet = std::vector<nn::RopeTables>;

/// The half of a layer in which tokens see each other: takes x_TD, normed or not, and returns what is added to the residual stream.
class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;
  virtual Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const = 0;
  /// In transformers' order.
  virtual std::vector<nn::Host*> hosts() = 0;
  /// Its attention, where a method can attach keys and values.
  virtual nn::Attention& attention() = 0;
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
