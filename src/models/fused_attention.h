#pragma once
#include <array>
#include <functional>
#include <optional>
#include <string>

#include "lora/ops/attention.h"
#include "models/blocks.h"
#include "models/config_keys.h"

namespace lora::models {

/// q_THE, k_TKE and v_TKE.
using QueryKeyValue = std::array<Tensor, 3>;

/// A row that holds all queries, then all keys, then all values, with the same number of heads each (GPT-2, ModernBERT).
QueryKeyValue split_thirds(const Tensor& fused_TF, const HeadSizes& heads);

struct FusedAttentionOptions {
  HeadSizes heads;
  nn::LinearShape qkv;
  nn::LinearShape out;
  std::string qkv_name;  ///< names of the projections in the block
  std::string out_name;
  /// Splits a row of the fused projection [T, F].
  std::function<QueryKeyValue(const Tensor& fused_TF)> split;
  ops::AttentionOptions scores;
  std::optional<size_t> rope = std::nullopt;  ///< which of the model's rotary embeddings; none: no positions
  double dropout = 0.0;                       ///< of the attention probabilities
};

/// Attention whose q, k and v are one projection (GPT-2, GPT-NeoX, Falcon).
class FusedAttention : public AttentionBlock {
 public:
  /// @param layer from 0; selects its keys in a cache.
  FusedAttention(const std::string& name, int64_t layer, FusedAttentionOptions attention, io::WeightSource& source,
                 const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&qkv_, &out_}; }
  nn::Attention& attention() override { return attention_; }
  nn::Kept kept() const override;

 private:
  FusedAttentionOptions options_;
  nn::Linear qkv_, out_;
  nn::Attention attention_;
};

}  // namespace lora::models
