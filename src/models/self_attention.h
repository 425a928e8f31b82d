#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lora/ops/attention.h"
#include "models/blocks.h"
#include "models/config_keys.h"

namespace lora::models {

/// Names of the projections in the block.
struct SelfAttentionNames {
  std::string q = "q_proj", k = "k_proj", v = "v_proj", o = "o_proj";
};

/// Gives queries q_THE and keys k_TKE their positions.
using RotateHeads =
    std::function<void(Tensor& q_THE, Tensor& k_TKE, const nn::RopeTables& rope, const nn::BatchLayout& layout)>;

/// q and k rotated by halves, in the dtype of the tables.
void rotate_halves(Tensor& q_THE, Tensor& k_TKE, const nn::RopeTables& rope);

struct SelfAttentionOptions {
  int64_t hidden_size;
  HeadSizes heads;
  bool qkv_bias = false;
  bool o_bias = false;
  ops::AttentionOptions scores;
  std::optional<size_t> rope = 0;  ///< which of the model's rotary embeddings; none: no positions
  double dropout = 0.0;            ///< of the attention probabilities
  SelfAttentionNames names = {};
  RotateHeads rotate = nullptr;  ///< instead of rotate_halves
};

/// Norms of queries and keys, over a head's channels or, before their rotation, over those of all heads; null: none.
struct QueryKeyNorms {
  std::unique_ptr<nn::Norm> q, k;
  bool after_rotation = false;
};

/// Attention with separate projections for queries, keys, values and the heads' output, with or without rotary embeddings, and with
/// grouped key heads (Llama, BERT and their relatives).
class SelfAttention : public AttentionBlock {
 public:
  /// @param layer from 0; selects its keys in a cache.
  SelfAttention(const std::string& name, int64_t layer, const SelfAttentionOptions& attention, io::WeightSource& source,
                const at::TensorOptions& options, QueryKeyNorms norms = {});

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;
  nn::Attention& attention() override { return attention_; }
  nn::Kept kept() const override;

 private:
  SelfAttentionOptions options_;
  nn::Linear q_proj_, k_proj_, v_proj_, o_proj_;
  QueryKeyNorms norms_;
  nn::Attention attention_;
};

}  // namespace lora::models
