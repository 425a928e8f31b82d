#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// What one layer needs per token, with the adapters in use.
struct LayerMemory {
  Kept attention;            ///< by the attention block and its norms
  Kept feed_forward;         ///< by the feed-forward block and its norms
  int64_t working = 0;       ///< elements in use within the feed-forward block
  Kept per_document = {};    ///< by the attention block, per document instead of per token
  bool has_gradient = true;  ///< whether this layer or one before it is trained: otherwise nothing is kept
};

/// What surrounds the layers, per token.
struct LayersMemory {
  int64_t hidden_size;
  at::ScalarType dtype;
  Kept shared = {};  ///< by all layers together, such as the tables of rotary embeddings
  Kept norm = {};    ///< by the norm after the last layer
};

/// What each of the layers needs (pointers to objects with memory() and is_trained()): those before everything that is trained keep
/// nothing.
/// @param is_trained_before whether something before the layers is trained.
template <typename Layers>
std::vector<LayerMemory> layer_memories(const Layers& layers, bool is_trained_before) {
  std::vector<LayerMemory> memories;
  bool has_gradient = is_trained_before;
  for (const auto& layer : layers) {
    has_gradient = has_gradient || layer->is_trained();
    memories.push_back(layer->memory());
    memories.back().has_gradient = has_gradient;
  }
  return memories;
}

/// The memory of a pass through layers, one after the other.
PassMemory pass_memory_of(std::span<const LayerMemory> layers, const LayersMemory& sizes, Recompute recompute);

/// Whether a pass that needs the states of only `rows` of its `tokens` computes all of them: to select them before the last feed-forward
/// block saves nothing if more than three quarters are needed.
constexpr bool computes_all(int64_t rows, int64_t tokens) {
  return 4 * rows > 3 * tokens;
}

}  // namespace lora::nn
