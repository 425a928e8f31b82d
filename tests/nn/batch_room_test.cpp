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
  std::vector<Batch> all;
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{3, 5, 4}, {40, 40, 10}, {1}, {25, 25, 25, 15}}) {
    const Batch batch = test::batch_of(test::documents_of(lengths, 50));
    ASSERT_TRUE(room.holds(room_of(batch)));
    const Batch whole = padded(batch, room);
    const int64_t tokens = batch.num_tokens(), documents = batch.num_documents();
    expect_equal(whole.tokens().ids_T.slice(0, 0, tokens), batch.tokens().ids_T);
    expect_equal(whole.layout.positions_T.slice(0, 0, tokens), batch.layout.positions_T);
    expect_equal(whole.labels().labels_T.slice(0, 0, tokens), batch.labels().labels_T);
    expect_equal(whole.layout.offsets.slice(0, 0, documents + 1), batch.layout.offsets);
    expect_equal(whole.labels().supervised_S.slice(0, 0, batch.num_supervised()), batch.labels().supervised_S);
    const Tensor padding_S = whole.labels().supervised_S.slice(0, batch.num_supervised());
    EXPECT_TRUE(whole.labels().labels_T.index_select(0, padding_S).eq(kIgnoreLabel).all().item<bool>());
    EXPECT_GE(padding_S.min().item<int64_t>(), tokens) << "nobody's";
    EXPECT_LT(whole.labels().supervised_S.max().item<int64_t>(), whole.num_tokens());
    EXPECT_TRUE(whole.labels().labels_T.slice(0, tokens).eq(kIgnoreLabel).all().item<bool>());
    expect_equal(whole.layout.offsets, at::tensor(whole.layout.host_offsets, at::kInt));
    EXPECT_EQ(whole.num_tokens(), whole.tokens().ids_T.size(0)) << "every token is in a document";
    for (int64_t d = 0; d < whole.num_documents(); ++d) {
      EXPECT_LE(whole.layout.host_offsets[d + 1] - whole.layout.host_offsets[d], whole.layout.max_document);
    }
    all.push_back(whole);
  }
  for (const Batch& batch : all) {
    EXPECT_EQ(batch.tokens().ids_T.sizes(), all[0].tokens().ids_T.sizes());
    EXPECT_EQ(batch.layout.offsets.sizes(), all[0].layout.offsets.sizes());
    EXPECT_EQ(batch.labels().supervised_S.sizes(), all[0].labels().supervised_S.sizes());
    EXPECT_EQ(batch.layout.max_document, all[0].layout.max_document);
  }
}

}  // namespace
}  // namespace lora::nn
