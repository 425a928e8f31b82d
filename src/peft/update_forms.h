#pragma once
#include <algorithm>
#include <map>
#include <vector>

#include "lora/peft/adapter.h"

// The same update in another form, for formats that have one scale or one rank for all modules.
namespace lora::peft {

/// Whether the module is an embedding by its name: embed_tokens, word_embeddings, wte, …. For formats and checkpoints with only
/// names and shapes.
bool is_embedding_name(const std::string& module);

/// The lora_alpha with which alpha / rank gives the update's scale, also where the scale is alpha / sqrt(rank).
double plain_alpha(const LowRankUpdate& update);

/// The most frequent value of the updates, the smallest of several; `none` if there are no updates.
template <typename T, typename Value>
T commonest(const std::vector<LowRankUpdate>& updates, const Value& value, T none) {
  std::map<T, int> counts;
  for (const LowRankUpdate& update : updates) {
    ++counts[value(update)];
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return counts.empty() ? none : std::max_element(counts.begin(), counts.end(), fewer)->first;
}
double commonest_scale(const std::vector<LowRankUpdate>& updates);
double commonest_plain_alpha(const std::vector<LowRankUpdate>& updates);

/// The update with another scale (alpha is scale · rank): lora_B and its bias are multiplied by the quotient of the two, in float32.
/// B A · scale is bit-identical if the quotient is a power of two.
LowRankUpdate with_scale(LowRankUpdate update, double scale);

/// The update padded with zeros to `rank`, with the same scale (alpha is scale · rank).
LowRankUpdate with_rank(LowRankUpdate update, int64_t rank);

/// All updates with the most frequent scale and the largest rank.
std::vector<LowRankUpdate> uniform(const std::vector<LowRankUpdate>& updates);

/// The updates with A, B, magnitude and bias in `dtype`. Throws model Error naming the module with a value that is too large for
/// it.
std::vector<LowRankUpdate> rounded(std::vector<LowRankUpdate> updates, at::ScalarType dtype);

}  // namespace lora::peft
