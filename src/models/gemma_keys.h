#pragma once
#include <optional>
#include <string>

#include "lora/base/json.h"
#include "models/gated_mlp.h"

namespace lora::models {

/// Throws model Error if attention is to be bidirectional: use_bidirectional_attention (embedding models).
void require_causal(const JsonReader& config);

/// A soft cap; none if it is null.
std::optional<double> read_soft_cap(const JsonReader& config, const std::string& key, std::optional<double> fallback);

/// The scale of scores, query_pre_attn_scalar^-½.
double read_query_scale(const JsonReader& config);

/// Gemma 2's and 3's feed-forward block, whose activation is in `hidden_activation`.
GatedMlpOptions read_gemma_mlp(const JsonReader& config);

}  // namespace lora::models
