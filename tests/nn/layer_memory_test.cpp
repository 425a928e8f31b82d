#include "lora/nn/layer_memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace lora::nn {
namespace {

/// In bytes of float32: attention keeps 404 and the feed-forward block 800 per token, which also needs 200 while it runs.
const LayerMemory kLayer{{100, 1}, {200, 0}, 50};
/// A row of the residual stream has 40, so that a block in backward needs 80 for it.
const LayersMemory kSizes{10, at::kFloat, {}, {10, 1}};
constexpr int64_t kBatch = 4 * 8;

PassMemory memory_of(const std::vector<LayerMemory>& layers, Recompute recompute) {
  return pass_memory_of(layers, kSizes, recompute);
}

TEST(LayerMemory, WithoutRecomputationEveryLayerKeepsItsOwn) {
  const PassMemory memory = memory_of({kLayer, kLayer}, Recompute::kNothing);
  EXPECT_EQ(memory.kept, kBatch + 2 * 404 + 800);
  EXPECT_EQ(memory.tail, 44 + 800);         // the last norm, and the last layer's feed-forward block
  EXPECT_EQ(memory.working, 404 + 80);      // backward in the last layer's attention
  EXPECT_EQ(memory.tail_working, 200 + 80);
  EXPECT_EQ(memory.forward, kBatch + 200 + 2 * 80);
}

TEST(LayerMemory, RecomputationKeepsInputs) {
  const PassMemory feed_forward = memory_of({kLayer, kLayer}, Recompute::kFeedForward);
  EXPECT_EQ(feed_forward.kept, kBatch + 2 * 404 + 40);
  EXPECT_EQ(feed_forward.tail, 44 + 40);
  EXPECT_EQ(feed_forward.working, 404 + 800 + 280 - (2 * 404 + 40));  // the first layer's block once more
  EXPECT_EQ(feed_forward.tail_working, 280 + 800);
  const PassMemory layers = memory_of({kLayer, kLayer}, Recompute::kLayers);
  EXPECT_EQ(layers.kept, kBatch + 2 * 40);
  EXPECT_EQ(layers.tail, 44);
  EXPECT_EQ(layers.working, 40 + 404 + 800 + 280 - 2 * 40);
  const std::vector<LayerMemory> six(6, kLayer);
  EXPECT_EQ(memory_of(six, Recompute::kLayers).kept, kBatch + 6 * 40);
  EXPECT_EQ(memory_of(six, Recompute::kOffload).kept, kBatch + 4 * 40);  // the others are in the host's memory
}

TEST(LayerMemory, NothingIsKeptBeforeWhatIsTrained) {
  LayerMemory frozen = kLayer;
  frozen.has_gradient = false;
  const PassMemory memory = memory_of({frozen, kLayer}, Recompute::kNothing);
  EXPECT_EQ(memory.kept, kBatch + 404);
  EXPECT_EQ(memory.tail, 44 + 800);
  EXPECT_EQ(memory_of({}, Recompute::kNothing).kept, kBatch);
}

TEST(LayerMemory, DocumentsNeedTheirOwn) {
  LayerMemory prefixed = kLayer;
  prefixed.per_document = {30, 5};
  LayerMemory frozen = prefixed;
  frozen.has_gradient = false;
  for (const Recompute recompute : {Recompute::kNothing, Recompute::kFeedForward, Recompute::kLayers, Recompute::kOffload}) {
    const PassMemory bare = memory_of({kLayer, kLayer, kLayer}, recompute), memory = memory_of({prefixed, prefixed, kLayer}, recompute);
    const bool has_one_layer = recompute == Recompute::kLayers || recompute == Recompute::kOffload;
    EXPECT_EQ(bare.kept_per_document, 0);
    EXPECT_EQ(memory.kept, bare.kept);
    EXPECT_EQ(memory.kept_per_document, has_one_layer ? 140 : 280);
    EXPECT_EQ(memory.forward_per_document, 140);
  }
  EXPECT_EQ(memory_of({frozen, prefixed}, Recompute::kNothing).kept_per_document, 140);
}

TEST(LayerMemory, SelectingPaysUpToThreeQuartersOfTheTokens) {
  EXPECT_FALSE(computes_all(3, 4));
  EXPECT_FALSE(computes_all(75, 100));
  EXPECT_TRUE(computes_all(76, 100));
  EXPECT_TRUE(computes_all(4, 4));
}

}  // namespace
}  // namespace lora::nn
