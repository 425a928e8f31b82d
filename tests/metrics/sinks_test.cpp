#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/metrics/sink.h"
#include "support/temporary_folder.h"

namespace lora::metrics {
namespace {

TEST(Sinks, EveryRunHasItsFileAndTheConsole) {
  const test::TemporaryFolder folder;
  for (const std::vector<std::string>& report_to : {std::vector<std::string>(), std::vector<std::string>{"none"}}) {
    const std::vector<std::unique_ptr<Sink>> sinks = make_sinks(report_to, {folder.path(), 0, 10, "rows"});
    ASSERT_EQ(sinks.size(), 2U);
    sinks.front()->write({{"step", 3}});
    EXPECT_EQ(read_file(folder.path() / "metrics.jsonl", ErrorKind::kOutput), "{\"step\":3}\n");
  }
}

TEST(Sinks, StateTheFilesThatTheyWrite) {
  const test::TemporaryFolder folder;
  const std::vector<std::unique_ptr<Sink>> sinks = make_sinks(sink_names(), {folder.path(), 0, 10, "rows"});
  for (const std::unique_ptr<Sink>& sink : sinks) {
    sink->write({{"step", 3}, {"loss", 1.5}});
  }
  EXPECT_THAT(sink_files(), testing::Contains("metrics.jsonl"));
  EXPECT_THAT(test::files_in(folder.path()), testing::UnorderedElementsAreArray(sink_files()));
}

TEST(Sinks, NamesAreThoseThatAConfigCanAskFor) {
  EXPECT_THAT(sink_names(), testing::Not(testing::Contains("none")));
  EXPECT_THAT(sink_names(), testing::Not(testing::Contains("jsonl"))) << "every run has it";
}

}  // namespace
}  // namespace lora::metrics
