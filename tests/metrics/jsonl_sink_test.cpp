#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "lora/base/file.h"
#include "lora/metrics/sink.h"

namespace lora::metrics {
namespace {

class JsonlSink : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("jsonl_sink." + std::to_string(::getpid()));
    fs::create_directories(folder_);
    file_ = folder_ / "metrics.jsonl";
  }
  void TearDown() override { fs::remove_all(folder_); }

  void put(const std::string& content) const { std::ofstream(file_, std::ios::binary) << content; }
  std::string content() const { return read_file(file_, ErrorKind::kOutput); }

  fs::path folder_;
  fs::path file_;
};

TEST_F(JsonlSink, WritesOneLinePerRowImmediately) {
  const auto sink = make_jsonl_sink(file_, 0);
  EXPECT_EQ(content(), "");
  sink->write({{"step", 1}, {"loss", 2.5}, {"learning_rate", 1e-4}});
  EXPECT_EQ(content(), "{\"step\":1,\"loss\":2.5,\"learning_rate\":0.0001}\n");  // already while the sink is open
  sink->write({{"step", 2}, {"loss", std::nan("")}, {"note", "two\nlines, bad byte \xff"}});
  EXPECT_EQ(content(),
            "{\"step\":1,\"loss\":2.5,\"learning_rate\":0.0001}\n"
            "{\"step\":2,\"loss\":null,\"note\":\"two\\nlines, bad byte \xEF\xBF\xBD\"}\n");
}

TEST_F(JsonlSink, TruncatesToTheResumedStep) {
  const std::string kept = "{\"step\":1,\"loss\":3.0}\n{\"step\":2,\"loss\":2.0}\n{\"step\":2,\"eval_loss\":2.1}\n";
  put(kept + "{\"step\":3,\"loss\":1.0}\n{\"step\":3,\"eval_loss\":1.1}\n{\"step\":4,\"lo");
  make_jsonl_sink(file_, 2)->write({{"step", 3}, {"loss", 1.5}});
  EXPECT_EQ(content(), kept + "{\"step\":3,\"loss\":1.5}\n");
}

TEST_F(JsonlSink, DropsATornLastLineEvenOfAKeptStep) {
  put("{\"step\":1,\"loss\":3.0}\n{\"step\":2,\"loss\":2.0}");
  make_jsonl_sink(file_, 5);
  EXPECT_EQ(content(), "{\"step\":1,\"loss\":3.0}\n");
}

TEST_F(JsonlSink, StartsEmptyWithoutAResumedStep) {
  put("{\"step\":1,\"loss\":3.0}\n");
  make_jsonl_sink(file_, 0);
  EXPECT_EQ(content(), "");
}

TEST_F(JsonlSink, DropsLinesThatAreNotRows) {
  put(std::string("{\"step\":1,\"loss\":3.0}\n") + std::string(16, '\0') + "\n[1]\n{\"loss\":1}\n\n{\"step\":2,\"loss\":2.0}\n");
  make_jsonl_sink(file_, 5);
  EXPECT_EQ(content(), "{\"step\":1,\"loss\":3.0}\n{\"step\":2,\"loss\":2.0}\n");
}

TEST_F(JsonlSink, LeavesAFileUntouchedThatNeedsNoTruncation) {
  put("{\"step\":1,\"loss\":3.0}\n");
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(file_.c_str(), &before), 0);
  make_jsonl_sink(file_, 1);
  ASSERT_EQ(::stat(file_.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(JsonlSink, ReportsWhatCannotBeWritten) {
  try {
    make_jsonl_sink(folder_ / "missing" / "metrics.jsonl", 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutput);
    EXPECT_THAT(error.what(), testing::HasSubstr("missing/metrics.jsonl"));
  }
  const auto full = make_jsonl_sink("/dev/full", 0);
  EXPECT_THROW(full->write({{"step", 1}}), Error);
}

}  // namespace
}  // namespace lora::metrics
