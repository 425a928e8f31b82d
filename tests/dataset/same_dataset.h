#pragma once
#include <gtest/gtest.h>

#include "lora/data/dataset.h"

namespace lora::test {

/// Two datasets have the same examples, report and files; stops at the first example that differs.
inline void expect_same(const data::Dataset& a, const data::Dataset& b) {
  ASSERT_EQ(a.examples.size(), b.examples.size());
  for (size_t i = 0; i < a.examples.size(); ++i) {
    const data::Example& x = a.examples[i];
    const data::Example& y = b.examples[i];
    ASSERT_EQ(x.ids(), y.ids()) << i;
    ASSERT_EQ(x.labels(), y.labels()) << i;
    ASSERT_EQ(x.content.index(), y.content.index()) << i;
    ASSERT_EQ(std::get<data::TokenDocument>(x.content).labelling.own, std::get<data::TokenDocument>(y.content).labelling.own) << i;
    ASSERT_EQ(x.origin.text(), y.origin.text()) << i;
    ASSERT_EQ(x.weight, y.weight) << i;
    ASSERT_EQ(x.continues_row, y.continues_row) << i;
  }
  EXPECT_EQ(a.report.rows, b.report.rows);
  EXPECT_EQ(a.report.truncated, b.report.truncated);
  EXPECT_EQ(a.report.dropped, b.report.dropped);
  EXPECT_EQ(a.report.split, b.report.split);
  EXPECT_EQ(a.report.skipped, b.report.skipped);
  EXPECT_EQ(a.report.skipped_origins, b.report.skipped_origins);
  ASSERT_EQ(a.files.size(), b.files.size());
  for (size_t i = 0; i < a.files.size(); ++i) {
    EXPECT_EQ(a.files[i].path, b.files[i].path);
    EXPECT_EQ(a.files[i].sha256, b.files[i].sha256);
  }
}

}  // namespace lora::test
