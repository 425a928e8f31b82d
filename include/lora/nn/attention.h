#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "lora/nn/dropout.h"
#include "lora/nn/host.h"
#include "lora/nn/pass.h"
#include "lora/ops/attention.h"

namespace lora::nn {

/// The attention of one layer, between the projections of its queries, keys and values and that of its output. Families reach ops/ only
/// through it. It is also where a method can attach keys and values that every token sees (prefix tuning): a tap, hence not among a
/// model's hosts, with the name of the block in transformers.
class Attention : public Host {
 public:
  /// @param layer from 0, in the order in which a pass visits the layers: selects its keys in a cache.
  /// @param dropout rate for the attention probabilities, if the base model trains with it; its draws depend on `name`.
  Attention(const std::string& name, int64_t layer, const ops::AttentionOptions& options, double dropout = 0.0);

  const char* kind() const override { return "Attention"; }
  bool can_be_saved() const override { return false; }

  /// Attention of the pass's tokens within their documents, including the tokens that the pass's cache holds; the new keys and values
  /// are added to the cache. q_THE, k_TKE (both rotated) and v_TKE → [T, H, E].
  Tensor forward(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass) const;

 private:
  int64_t layer_;
  ops::AttentionOptions options_;
  Dropout dropout_;
};

}  // namespace lora::nn
