// Rows encoded by several threads give the same result as one thread, including errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_tokenizer.h"
#include "lora/base/error.h"
#include "lora/data/dataset.h"
#include "same_dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::expect_error;
using test::expect_same;

struct ParallelSetup {
  test::TemporaryFolder folder;
  test::FakeTokenizer tokenizer;
  DataOptions options;

  Dataset load(const std::string& name, const std::string& content, int num_threads) {
    SourceOptions source;
    source.path = folder.write(name, content);
    source.format = RowFormat::kPromptCompletion;
    return load_dataset("data.train", {source}, options, {&tokenizer, 301, false, num_threads});
  }
};

/// Row `i` of a file: some are too long, some have no supervised token, some follow blank lines.
std::string row(int i) {
  const std::string completion = i % 7 == 0 ? "" : std::string(static_cast<size_t>(i % 97), 'b');
  return "{\"prompt\": \"" + std::to_string(i) + "a\", \"completion\": \"" + completion + "\"}\n" + (i % 5 == 0 ? "\n" : "");
}

std::string rows(int count) {
  std::string content;
  for (int i = 0; i < count; ++i) {
    content += row(i);
  }
  return content;
}

TEST(Parallel, EqualsOneThread) {
  ParallelSetup setup;
  setup.options.max_length = 50;
  setup.options.overlength = Overlength::kSplit;
  setup.options.append_eos = false;
  for (const int count : {1, 40, 6000}) {  // 6000: several blocks
    const Dataset one = setup.load("x.jsonl", rows(count) + row(1), 1);
    expect_same(one, setup.load("x.jsonl", rows(count) + row(1), 3));
    EXPECT_EQ(one.report.rows, count + 1);
  }
}

TEST(Parallel, TheFirstFaultyRowIsReported) {
  ParallelSetup setup;
  const std::string good = rows(3000);
  const std::string line = std::to_string(3000 + 600 + 1);  // 600 blank lines
  for (const int threads : {1, 4}) {
    expect_error(ErrorKind::kData, {"x.jsonl:" + line + "]", "\"completion\" is missing"},
                 [&] { setup.load("x.jsonl", good + "{\"prompt\": \"a\"}\n" + good + "{\"prompt\": 3}\nno JSON\n" + good, threads); });
    // The byte that stops reading is found before the block with the faulty row is finished.
    expect_error(ErrorKind::kData, {"x.jsonl:" + line + "]", "\"completion\" is missing"},
                 [&] { setup.load("x.jsonl", good + "{\"prompt\": \"a\"}\n\xff\n", threads); });
    expect_error(ErrorKind::kData, {"x.jsonl:" + line + ":1]", "0xff"},
                 [&] { setup.load("x.jsonl", good + "\xff\n{\"prompt\": \"a\"}\n", threads); });
    expect_error(ErrorKind::kData, {"x.csv:3]", "found 1 fields"},
                 [&] { setup.load("x.csv", "prompt,completion\na,b\na\nb\n\"open", threads); });
  }
}

}  // namespace
}  // namespace lora::data
