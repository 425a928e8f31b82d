// Labels stored as borders of ranges are restored exactly.
#include "lora/data/example.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ids.h"
#include "lora/base/random.h"

namespace lora::data {
namespace {

using test::Ids;
using test::kNo;

int64_t count_predicted(const Ids& labels) {
  return labels.empty() ? 0 : std::count_if(labels.begin() + 1, labels.end(), [](int32_t label) { return label != kNo; });
}

void expect_kept(const Ids& ids, const Ids& labels, const Ids& values, bool own) {
  const Example example(ids, labels);
  EXPECT_EQ(example.labels(), labels);
  const Labelling& labelling = std::get<TokenDocument>(example.content).labelling;
  EXPECT_EQ(labelling.values, values);
  EXPECT_EQ(labelling.own, own);
  EXPECT_EQ(example.num_supervised(), count_predicted(labels));
  for (size_t i = 0; i < labels.size(); ++i) {
    EXPECT_EQ(example.label(i), labels[i]) << i;
  }
}

TEST(Example, StoresLabelsAsBorders) {
  expect_kept({}, {}, {}, false);
  expect_kept({5}, {5}, {}, false);
  expect_kept({5}, {kNo}, {0}, false);
  expect_kept({5, 6, 7}, {5, 6, 7}, {}, false);
  expect_kept({5, 6, 7}, {kNo, kNo, 7}, {0, 2}, false);
  expect_kept({5, 6, 7}, {5, kNo, 7}, {1, 2}, false);
  expect_kept({5, 6, 7}, {5, 6, kNo}, {2}, false);
  expect_kept({5, 6, 7}, {kNo, kNo, kNo}, {0}, false);
  expect_kept({5, 6, 7, 8, 9}, {kNo, 6, kNo, 8, kNo}, {0, 1, 2, 3, 4}, false);
  expect_kept({5, 6, 7}, {kNo, 7, 6}, {kNo, 7, 6}, true);
  expect_kept({5, 6, 7}, {8, 6, 7}, {8, 6, 7}, true);
}

TEST(Example, AnyMaskIsRestored) {
  CounterRandom random(5);
  for (int round = 0; round < 300; ++round) {
    Ids ids, labels;
    for (uint64_t length = random.below(40); ids.size() < length;) {
      ids.push_back(static_cast<int32_t>(random.below(9)));
      labels.push_back(random.below(3) == 0 ? kNo : ids.back());
    }
    const Example example(ids, labels);
    ASSERT_EQ(example.labels(), labels);
    ASSERT_EQ(example.num_supervised(), count_predicted(labels));
    ASSERT_FALSE(std::get<TokenDocument>(example.content).labelling.own);
  }
}

TEST(Example, ATextHasOneLabelAsAWhole) {
  Example text(LabelledText{{5, 6, 7}, 2, std::nullopt});
  EXPECT_EQ(text.ids(), (Ids{5, 6, 7}));
  EXPECT_EQ(text.labels(), (Ids{kNo, kNo, kNo}));
  EXPECT_EQ(text.label(2), kNo);
  EXPECT_EQ(text.num_tokens(), 3);
  EXPECT_EQ(text.num_supervised(), 0);
  EXPECT_FALSE(text.has_target());
  text.set_target(0);
  EXPECT_EQ(text.target(), 0.0);
  EXPECT_TRUE(text.has_target());
  EXPECT_EQ(text.num_supervised(), 1);
  EXPECT_FALSE(Example({5}, {5}).has_target());
}

TEST(Example, ARowOfFeaturesIsOnePosition) {
  Example row(FeatureRow{{2}, {0.5F, 1}, {}});
  EXPECT_TRUE(row.ids().empty());
  EXPECT_EQ(row.labels(), (Ids{kNo}));
  EXPECT_EQ(row.num_tokens(), 1);
  EXPECT_EQ(row.num_supervised(), 1);
  EXPECT_EQ(row.num_target_values(), 0U);
  EXPECT_EQ(row.features()->values(), nullptr);
  row.set_target(2.5);
  EXPECT_EQ(row.target(), 2.5);
  EXPECT_EQ(row.num_target_values(), 1U);
  const Example list(FeatureRow{{2}, {0.5F, 1}, std::vector<float>{1, 2, 3}});
  EXPECT_EQ(list.target(), std::nullopt);
  EXPECT_EQ(list.num_target_values(), 3U);
}

TEST(Example, NamesItsOrigin) {
  EXPECT_EQ((Origin{std::make_shared<const std::string>("a.jsonl"), 12}.text()), "a.jsonl:12");
}

}  // namespace
}  // namespace lora::data
