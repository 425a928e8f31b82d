#include "lora/nn/layer_memory.h"

#include <algorithm>

namespace lora::nn {

namespace {

bool recomputes_layers(Recompute recompute) {
  return recompute == Recompute::kLayers || recompute == Recompute::kOffload;
}

/// What the attention block of layer `index` keeps until backward; with layers recomputed, the layer's input.
Kept kept_by_attention(const LayerMemory& layer, size_t index, const Kept& input, Recompute recompute) {
  constexpr size_t kOnTheirWay = 4;  // of offloaded inputs some are still being copied
  if (recomputes_layers(recompute)) {
    return recompute == Recompute::kLayers || index < kOnTheirWay ? input : Kept{};
  }
  return layer.has_gradient ? layer.attention : Kept{};
}

Kept kept_by_feed_forward(const LayerMemory& layer, const Kept& input, Recompute recompute) {
  if (recompute == Recompute::kFeedForward) {
    return input;
  }
  return layer.has_gradient && !recomputes_layers(recompute) ? layer.feed_forward : Kept{};
}

/// Bytes per document; layers that are recomputed need theirs one after the other.
void add_documents(std::span<const LayerMemory> layers, at::ScalarType dtype, Recompute recompute, PassMemory& memory) {
  int64_t all = 0;
  for (const LayerMemory& layer : layers) {
    const int64_t bytes = layer.per_document.bytes(dtype);
    all += layer.has_gradient ? bytes : 0;
    memory.forward_per_document = std::max(memory.forward_per_document, bytes);
  }
  memory.kept_per_document = recomputes_layers(recompute) ? memory.forward_per_document : all;
}

}  // namespace

/// Backward goes from the last layer to the first and frees what it no longer needs: the peak is somewhere on the way.
PassMemory pass_memory_of(std::span<const LayerMemory> layers, const LayersMemory& sizes, Recompute recompute) {
  const auto bytes = [&sizes](const Kept& kept) { return kept.bytes(sizes.dtype); };
  const Kept input{sizes.hidden_size, 0};
  const int64_t stream = 2 * bytes(input);  // the residual stream's gradient and what a block adds to it
  Kept kept = sizes.shared, tail = sizes.norm;
  int64_t most = 0, most_fed = 0, last_fed = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerMemory& layer = layers[i];
    const bool is_last = i + 1 == layers.size();
    const int64_t attention = bytes(layer.attention), fed = bytes({layer.working, 0}) + stream;
    most_fed = std::max(most_fed, fed);
    last_fed = fed + (recompute == Recompute::kNothing ? 0 : bytes(layer.feed_forward));
    kept += kept_by_attention(layer, i, input, recompute);
    const int64_t here = bytes(kept) + (recomputes_layers(recompute) ? attention : 0);
    // The gradients of what attention keeps, and of the feed-forward block, which in the last layer only has the needed tokens.
    most = std::max({most, here + attention + stream, is_last ? 0 : here + bytes(layer.feed_forward) + fed});
    (is_last ? tail : kept) += kept_by_feed_forward(layer, input, recompute);
  }
  constexpr int64_t kBatch = 4 * sizeof(int64_t);  // ids, positions, labels and keys of random numbers
  PassMemory memory{.kept = kBatch + bytes(kept),
                    .tail = bytes(tail),
                    .working = std::max<int64_t>(most - bytes(kept), 0),
                    .tail_working = last_fed,
                    .forward = kBatch + most_fed + stream};
  add_documents(layers, sizes.dtype, recompute, memory);
  return memory;
}

}  // namespace lora::nn
