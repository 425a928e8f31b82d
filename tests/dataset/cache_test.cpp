// Tokenised data cached on disk: reused as long as nothing that determines it changes, never used when damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "fake_tokenizer.h"
#include "lora/base/file.h"
#include "lora/data/dataset.h"
#include "same_dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::expect_same;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kHit = "tokenised data from";
constexpr const char* kDamaged = "reading the rows again";

/// A FakeTokenizer with a file.
class FiledTokenizer : public test::FakeTokenizer {
 public:
  explicit FiledTokenizer(std::filesystem::path file) : file_(std::move(file)) {}
  std::vector<std::filesystem::path> files() const override { return {file_}; }

 private:
  std::filesystem::path file_;
};

std::string completion_rows() {
  std::string rows;
  for (int i = 0; i < 30; ++i) {
    const std::string text(static_cast<size_t>(i), i % 2 == 0 ? 'x' : 'y');
    rows += R"({"prompt": "ab)" + text + R"(", "completion": ")" + (i % 4 == 0 ? "" : text) + "\"}\n";
  }
  return rows;
}

struct CacheSetup {
  test::TemporaryFolder folder;
  FiledTokenizer tokenizer{folder.write("tokenizer.model", "one")};
  DataOptions options;
  std::vector<SourceOptions> sources;
  LoadContext context{&tokenizer, 301};
  std::string said;  // log output of the last load

  CacheSetup() {
    options.cache_dir = folder / "cache/deep";
    options.max_length = 20;
    options.overlength = Overlength::kSplit;
    options.append_eos = false;
    sources.push_back({folder.write("rows.jsonl", completion_rows()), RowFormat::kPromptCompletion, {}, 2.0, std::nullopt});
    folder.write("empty1.jsonl", "\n");
    folder.write("empty2.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 3, 4]}\n");
    folder.write("empty3.jsonl", "{\"input_ids\": [1, 2, 3]}\nnever read\n");
    folder.write("empty4.jsonl", "never read\n");
    sources.push_back({folder / "empty?.jsonl", RowFormat::kTokens, {}, 0.5, 2});
  }
  Dataset load() {
    testing::internal::CaptureStderr();
    try {
      Dataset dataset = load_dataset("data.train", sources, options, context);
      said = testing::internal::GetCapturedStderr();
      return dataset;
    } catch (...) {
      said = testing::internal::GetCapturedStderr();
      throw;
    }
  }
  std::vector<std::string> cached() const { return test::files_in(folder / "cache"); }
  std::filesystem::path cache_file() const { return folder / ("cache/" + cached().at(0)); }
};

std::string without_line(const std::string& text, const std::string& part) {
  const size_t at = text.find(part);
  const size_t begin = at == std::string::npos ? text.size() : text.rfind('\n', at) + 1;
  return text.substr(0, begin) + (at == std::string::npos ? "" : text.substr(text.find('\n', at) + 1));
}

TEST(Cache, AHitEqualsReadingTheRows) {
  CacheSetup setup;
  const std::filesystem::path cache_dir = std::exchange(setup.options.cache_dir, "");
  const Dataset plain = setup.load();
  const std::string warnings = setup.said;
  EXPECT_THAT(warnings, HasSubstr("empty1.jsonl] the file has no rows"));
  EXPECT_THAT(warnings, HasSubstr("rows have no supervised token"));
  EXPECT_GT(plain.report.split, 0);
  EXPECT_TRUE(std::get<TokenDocument>(plain.examples.at(plain.examples.size() - 2).content).labelling.own);
  EXPECT_EQ(plain.files.size(), 4U) << "the limit is reached before the last file";
  EXPECT_FALSE(std::filesystem::exists(setup.folder / "cache"));

  setup.options.cache_dir = cache_dir;
  expect_same(setup.load(), plain);
  EXPECT_EQ(setup.said, warnings);
  ASSERT_EQ(setup.cached().size(), 1U);
  expect_same(setup.load(), plain);
  EXPECT_THAT(setup.said, HasSubstr(kHit));
  EXPECT_EQ(without_line(setup.said, kHit), warnings);

  // Names, weights and options that group the examples are not part of the key.
  std::filesystem::rename(setup.folder / "rows.jsonl", setup.folder / "moved.jsonl");
  setup.sources[0].path = setup.folder / "moved.jsonl";
  setup.sources[0].weight = 1.0;
  setup.options.packing = true;
  setup.options.tokens_per_batch = 100;
  const Dataset moved = setup.load();
  EXPECT_THAT(setup.said, HasSubstr(kHit));
  EXPECT_EQ(moved.examples[0].weight, 1.0);
  EXPECT_THAT(moved.examples[0].origin.text(), HasSubstr("moved.jsonl:"));
  EXPECT_EQ(moved.examples[0].ids(), plain.examples[0].ids());
}

TEST(Cache, EveryChangeOfTheExamplesChangesTheKey) {
  CacheSetup setup;
  setup.load();
  size_t sets = 1;
  const auto expect_another = [&](const char* what) {
    setup.load();
    EXPECT_THAT(setup.said, Not(HasSubstr(kHit))) << what;
    EXPECT_EQ(setup.cached().size(), ++sets) << what;
  };
  setup.options.max_length = 21;
  expect_another("max_length");
  setup.options.overlength = Overlength::kTruncate;
  expect_another("overlength");
  setup.options.train_on = TrainOn::kAll;
  expect_another("train_on");
  setup.options.append_eos = true;
  expect_another("append_eos");
  setup.options.parse_special_tokens = false;
  expect_another("parse_special_tokens");
  setup.context.vocab_size = 302;
  expect_another("vocab_size");
  setup.context.keep_unsupervised = true;
  expect_another("keep_unsupervised");
  setup.folder.write("tokenizer.model", "two");
  expect_another("tokenizer");
  setup.folder.write("rows.jsonl", completion_rows() + R"({"prompt": "a", "completion": "b"})");
  expect_another("content");
  setup.sources[0].limit = 10;
  expect_another("limit");
  setup.sources[0].columns = {{"prompt", "completion"}};
  expect_another("columns");
  std::swap(setup.sources[0], setup.sources[1]);
  expect_another("order");
  setup.sources.pop_back();
  expect_another("sources");
  setup.folder.write("tokenizer.model", "three");  // rows of tokens do not depend on it
  setup.load();
  EXPECT_THAT(setup.said, HasSubstr(kHit));
  setup.options.overlength = Overlength::kSplit;
  expect_another("split");
  setup.tokenizer.bos = 7;  // the token that begins each part
  expect_another("BOS");
}

TEST(Cache, ADamagedFileIsDetectedAndRebuilt) {
  CacheSetup setup;
  const Dataset plain = setup.load();
  const std::string warnings = setup.said;
  const std::string whole = read_file(setup.cache_file(), ErrorKind::kData);
  std::vector<std::string> damaged{"", "no safetensors", whole.substr(0, whole.size() / 2), whole.substr(0, whole.size() - 1), whole + "x"};
  for (size_t at = 8; at < whole.size(); at += 97) {
    damaged.push_back(whole);
    damaged.back()[at] ^= 1;
  }
  for (const std::string& content : damaged) {
    write_file_atomically(setup.cache_file(), content);
    const Dataset again = setup.load();
    // A flipped bit in the padding after the header has no effect; any other is detected.
    if (setup.said.find(kHit) == std::string::npos) {
      EXPECT_THAT(setup.said, HasSubstr(kDamaged));
      EXPECT_EQ(without_line(setup.said, kDamaged), warnings);
    }
    expect_same(again, plain);
    ASSERT_EQ(setup.cached().size(), 1U);
    EXPECT_TRUE(read_file(setup.cache_file(), ErrorKind::kData) == whole);
  }
}

TEST(Cache, OtherDataUnderTheSameNameIsNotUsed) {
  CacheSetup setup;
  setup.load();
  const std::filesystem::path first = setup.cache_file();
  const std::string content = read_file(first, ErrorKind::kData);
  std::filesystem::remove(first);
  setup.options.max_length = 30;
  const Dataset plain = setup.load();
  write_file_atomically(setup.cache_file(), content);
  expect_same(setup.load(), plain);
  EXPECT_THAT(setup.said, HasSubstr("it belongs to other data"));
}

TEST(Cache, TheRowsAreReadIfItCannotBeWritten) {
  CacheSetup setup;
  setup.options.cache_dir = setup.folder / "rows.jsonl/cache";  // a path below a file
  EXPECT_EQ(setup.load().report.rows, 32);
  EXPECT_THAT(setup.said, HasSubstr("cannot cache the tokenised data"));
  test::expect_error(ErrorKind::kData, {"empty4.jsonl:1"}, [&] {
    setup.sources[1].limit = 3;
    setup.folder.write("empty3.jsonl", "{\"input_ids\": [1, 2, 3]}\n");
    setup.load();
  });
}

TEST(Cache, ConcurrentLoadsGiveTheSameResult) {
  CacheSetup setup;
  const Dataset plain = setup.load();
  std::filesystem::remove_all(setup.folder / "cache");
  std::vector<Dataset> loaded(4);
  std::vector<std::jthread> threads;
  for (Dataset& dataset : loaded) {
    threads.emplace_back([&] { dataset = load_dataset("data.train", setup.sources, setup.options, setup.context); });
  }
  threads.clear();
  for (const Dataset& dataset : loaded) {
    expect_same(dataset, plain);
  }
  EXPECT_EQ(setup.cached().size(), 1U) << "no temporary file is left";
}

}  // namespace
}  // namespace lora::data
