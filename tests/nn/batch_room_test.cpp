#include "lora/nn/batch_room.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/batches.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_equal;

TEST(BatchRoom, HoldsWhatWasAdded) {
  BatchRoom room;
  room.add({100, 3, 40, 50});
  room.add({90, 5, 60, 20});
  EXPECT_TRUE(room.holds({100, 5, 60, 50}));
  for (const BatchRoom& more :
       {BatchRoom{101, 5, 60, 50}, BatchRoom{100, 6, 60, 50}, BatchRoom{100, 5, 61, 50}, BatchRoom{100, 5, 60, 51}}) {
    EXPECT_FALSE(room.holds(more));
  }
}

TEST(BatchRoom, PaddedBatchesHaveOneShapeAndKeepTheirDocuments) {
  const BatchRoom room{90, 4, 90, 40};
  std::vector<TokenBatch> all;
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{3, 5, 4}, {40, 40, 10}, {1}, {25, 25, 25, 15}}) {
    const TokenBatch batch = test::batch_of(test::documents_of(lengths, 50));
    ASSERT_TRUE(room.holds(room_of(batch)));
    const TokenBatch whole = padded(batch, room);
    const int64_t tokens = batch.num_tokens(), documents = batch.num_documents();
    expect_equal(whole.ids_T.slice(0, 0, tokens), batch.ids_T);
    expect_equal(whole.positions_T.slice(0, 0, tokens), batch.positions_T);
    expect_equal(whole.labels_T.slice(0, 0, tokens), batch.labels_T);
    expect_equal(whole.offsets.slice(0, 0, documents + 1), batch.offsets);
    expect_equal(whole.supervised_S.slice(0, 0, batch.num_supervised), batch.supervised_S);
    EXPECT_TRUE(whole.labels_T.index_select(0, whole.supervised_S.slice(0, batch.num_supervised)).eq(kIgnoreLabel).all().item<bool>());
    EXPECT_GE(whole.supervised_S.slice(0, batch.num_supervised).min().item<int64_t>(), tokens) << "nobody's";
    EXPECT_LT(whole.supervised_S.max().item<int64_t>(), whole.num_tokens());
    EXPECT_TRUE(whole.labels_T.slice(0, tokens).eq(kIgnoreLabel).all().item<bool>());
    expect_equal(whole.offsets, at::tensor(whole.document_offsets, at::kInt));
    EXPECT_EQ(whole.num_tokens(), whole.ids_T.size(0)) << "every token is in a document";
    for (int64_t d = 0; d < whole.num_documents(); ++d) {
      EXPECT_LE(whole.document_offsets[d + 1] - whole.document_offsets[d], whole.max_document);
    }
    all.push_back(whole);
  }
  for (const TokenBatch& batch : all) {
    EXPECT_EQ(batch.ids_T.sizes(), all[0].ids_T.sizes());
    EXPECT_EQ(batch.offsets.sizes(), all[0].offsets.sizes());
    EXPECT_EQ(batch.supervised_S.sizes(), all[0].supervised_S.sizes());
    EXPECT_EQ(batch.max_document, all[0].max_document);
  }
}

}  // namespace
}  // namespace lora::nn
