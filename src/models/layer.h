#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/dropout.h"
#include "lora/nn/layer_memory.h"
#include "lora/nn/tap.h"
#include "models/blocks.h"

namespace lora::models {

/// Where a layer's norms are, and whether its blocks follow each other.
enum class NormPlacement {
  /// x + after(block(before(x))), first with attention, then with the feed-forward block. Most layers since GPT-2 only have the norms
  /// before the blocks, Gemma 2 and 3 have both, OLMo 2 only those after them.
  kInBranch,
  /// after(x + block(x)), first with attention, then with the feed-forward block: the first transformer and BERT.
  kOnSum,
  /// x + (feed_forward(before(x)) + attention(before(x))): both blocks read the layer's input (Wang & Komatsuzaki 2021, GPT-J). Without a
  /// norm before the feed-forward block they share attention's.
  kParallel,
};

/// A layer's norms; null: none.
struct LayerNorms {
  std::unique_ptr<nn::Norm> before_attention = nullptr, after_attention = nullptr;
  std::unique_ptr<nn::Norm> before_feed_forward = nullptr, after_feed_forward = nullptr;
};

/// The base's own dropout of the blocks' outputs, under the modules' names in transformers. `sum` is that of parallel blocks together.
struct LayerDropouts {
  nn::Dropout attention{"", 0.0}, feed_forward{"", 0.0}, sum{"", 0.0};
};

/// What follows a layer's name in the names of its taps: where the adapters library has its modules.
struct TapNames {
  std::string attention = ".attention_adapters", feed_forward = ".output_adapters";
};

/// What a family makes a layer of.
struct LayerParts {
  std::unique_ptr<AttentionBlock> attention;
  std::unique_ptr<FeedForward> feed_forward;
  LayerNorms norms;
  LayerDropouts dropouts = {};
  NormPlacement placement = NormPlacement::kInBranch;
  TapNames taps = {};
};

/// One layer of a transformer.
class Layer {
 public:
  /// @param name in transformers. @param hidden_size channels of the residual stream.
  Layer(const std::string& name, int64_t hidden_size, LayerParts parts);

  /// x_TD → x_TD, or x_SD, the rows that the pass needs.
  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const;
  /// In transformers' order.
  std::vector<nn::Host*> hosts() const;
  /// In the order in which a pass reaches them.
  std::vector<nn::Host*> taps();
  const nn::Attention& attention() const { return parts_.attention->attention(); }
  /// Whether anything in use is trained.
  bool is_trained() const;
  /// `has_gradient` is left to the caller.
  nn::LayerMemory memory() const;

 private:
  /// The blocks on their way from norm to tap.
  Tensor attend(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const;
  Tensor feed_forward(const Tensor& x_TD, const nn::Pass& pass) const;
  Tensor in_parallel(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const;
  /// A block's output where it enters the stream x_TD.
  nn::BlockOutput output(const Tensor& x_TD, const Tensor& block_TD, const nn::Norm* after) const;

  LayerParts parts_;
  nn::Tap attention_tap_, output_tap_;
};

}  // namespace lora::models
