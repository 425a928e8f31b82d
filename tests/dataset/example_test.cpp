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
  EXPECT_EQ(example.labelling.values, values);
  EXPECT_EQ(example.labelling.own, own);
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
    ASSERT_FALSE(example.labelling.own);
  }
}

TEST(Example, NamesItsOrigin) {
  EXPECT_EQ((Origin{std::make_shared<const std::string>("a.jsonl"), 12}.text()), "a.jsonl:12");
}

}  // namespace
}  // namespace lora::data
