// Rows of a classification: texts and pairs, three kinds of labels, and errors.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "fake_tokenizer.h"
#include "ids.h"
#include "lora/base/json.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::Ids;

struct ClassificationSetup {
  test::FakeTokenizer fake;
  const tokenizer::Tokenizer* tokenizer = &fake;
  DataOptions options;
  SourceOptions source;
  test::TemporaryFolder folder;

  ClassificationSetup() { source.format = RowFormat::kClassification; }
  Dataset load(const std::string& rows, const char* name = "x.jsonl") {
    source.path = folder.write(name, rows);
    return load_dataset("data.train", {source}, options, {tokenizer, 301});
  }
  /// Loads the rows and numbers their labels.
  Dataset labelled(const std::string& rows, const std::optional<LabelSet>& known = std::nullopt) {
    Dataset dataset = load(rows);
    const LabelSet labels = find_labels(dataset, known);
    dataset = resolve_labels(std::move(dataset), labels);
    return dataset;
  }
  void expect_fault(const std::string& rows, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kData, parts, [&] { labelled(rows); });
  }
};

int32_t second_text_of(const Example& example) {
  return std::get<LabelledText>(example.content).second_text;
}

std::vector<std::optional<double>> targets_of(const Dataset& dataset) {
  std::vector<std::optional<double>> targets;
  for (const Example& example : dataset.examples) {
    targets.push_back(example.target());
  }
  return targets;
}

TEST(ClassificationRows, ContainATextAPairOrIds) {
  ClassificationSetup setup;
  const Dataset dataset = setup.load(R"({"text": "ab", "label": 1}
{"text": "ab", "text_pair": "ab", "label": 0}
{"input_ids": [5, 6, 7], "label": 2}
{"input_ids": [5, 6, 7], "token_type_ids": [0, 1, 1], "label": 2}
{"text": "ab", "text_pair": null, "label": 1}
)");
  ASSERT_EQ(dataset.examples.size(), 5u);
  EXPECT_EQ(dataset.examples[0].ids(), (Ids{1, 300}));  // without EOS, as in transformers
  EXPECT_EQ(dataset.examples[1].ids(), (Ids{1, 300, 1, 300}));
  EXPECT_EQ(second_text_of(dataset.examples[1]), 2);
  EXPECT_EQ(second_text_of(dataset.examples[3]), 1);
  EXPECT_EQ(dataset.examples[4].ids(), dataset.examples[0].ids());
  EXPECT_EQ(dataset.num_supervised(), 5);
  EXPECT_EQ(dataset.examples[2].labels(), (Ids{-100, -100, -100}));
}

TEST(ClassificationRows, IdsNeedNoTokenizer) {
  ClassificationSetup setup;
  setup.tokenizer = nullptr;
  EXPECT_EQ(setup.load(R"({"input_ids": [5], "label": 1})").examples.size(), 1u);
  setup.expect_fault(R"({"text": "a", "label": 1})", {"x.jsonl:1", "there is no tokenizer", "input_ids"});
}

TEST(ClassificationRows, ColumnsRename) {
  ClassificationSetup setup;
  setup.source.columns = {{"text", "sentence"}, {"label", "class"}};
  EXPECT_EQ(setup.labelled(R"({"sentence": "ab", "class": 1, "label": 7})").examples[0].target(), 1);
}

TEST(ClassificationRows, AreTruncatedIncludingSpecialTokens) {
  ClassificationSetup setup;
  setup.fake.wants_eos = true;
  setup.options.max_length = 7;
  const Dataset dataset = setup.load(R"({"text": "xxxxxxxx", "label": 1}
{"text": "xx", "text_pair": "yyyyyyyyy", "label": 1}
{"text": "xxxx", "text_pair": "y", "label": 1}
{"text": "xx", "text_pair": "y", "label": 1}
)");
  constexpr int32_t x = 'x' + 10, y = 'y' + 10;
  EXPECT_EQ(dataset.examples[0].ids(), (Ids{1, x, x, x, x, x, 2}));
  EXPECT_EQ(dataset.examples[1].ids(), (Ids{1, x, 2, 1, y, y, 2}));
  EXPECT_EQ(dataset.examples[2].ids(), (Ids{1, x, x, 2, 1, y, 2}));
  EXPECT_EQ(dataset.examples[3].ids(), (Ids{1, x, x, 2, 1, y, 2}));
  EXPECT_EQ(dataset.report.truncated, 3);
  setup.options.overlength = Overlength::kDrop;
  EXPECT_EQ(setup.load("{\"text\": \"xxxxxxxx\", \"label\": 1}\n{\"text\": \"x\", \"label\": 1}").examples.size(), 1u);
  setup.options.overlength = Overlength::kError;
  setup.expect_fault(R"({"text": "xxxxxxxx", "label": 1})", {"x.jsonl:1", "too long"});
}

TEST(ClassificationRows, FaultsNameTheLine) {
  ClassificationSetup setup;
  setup.expect_fault("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\"}", {"x.jsonl:2", "\"label\" is missing", "columns"});
  setup.expect_fault(R"({"text": "a", "label": null})", {"x.jsonl:1", "\"label\"", "found null", "an integer or a name"});
  setup.expect_fault(R"({"text": "a", "label": [1]})", {"x.jsonl:1", "\"label\"", "found an array"});
  setup.expect_fault(R"({"text": "a", "label": ""})", {"x.jsonl:1", "\"label\""});
  setup.expect_fault(R"({"label": 1})", {"x.jsonl:1", "\"text\" is missing"});
  setup.expect_fault(R"({"text": 3, "label": 1})", {"x.jsonl:1", "\"text\"", "expected a string"});
  setup.expect_fault(R"({"input_ids": [], "label": 1})", {"x.jsonl:1", "no token"});
  setup.expect_fault(R"({"input_ids": [301], "label": 1})", {"x.jsonl:1", "input_ids[0]", "from 0 to 300"});
  setup.expect_fault(R"({"input_ids": [1], "text": "a", "label": 1})", {"x.jsonl:1", "together with a text"});
  setup.expect_fault(R"({"input_ids": [1, 2], "token_type_ids": [0], "label": 1})", {"x.jsonl:1", "token_type_ids", "one per id"});
  setup.expect_fault(R"({"input_ids": [1, 2], "token_type_ids": [1, 0], "label": 1})", {"x.jsonl:1", "zeros, then ones"});
  setup.expect_fault("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": \"yes\"}", {"x.jsonl:2", "a name among numbers"});
  setup.expect_fault("{\"text\": \"a\", \"label\": -1}", {"x.jsonl:1", "not a class", "found -1"});
  setup.expect_fault("{\"text\": \"a\", \"label\": 0}", {"data.train", "too few classes", "at least 2"});
  setup.expect_fault("{\"text\": \"a\", \"label\": \"yes\"}\n{\"text\": \"b\", \"label\": \"yes\"}", {"data.train", "too few classes"});
}

TEST(Labels, ByNumberNameOrValue) {
  ClassificationSetup setup;
  EXPECT_EQ(targets_of(setup.labelled("{\"text\": \"a\", \"label\": 2}\n{\"text\": \"a\", \"label\": 0}")),
            (std::vector<std::optional<double>>{2, 0}));
  const Dataset names =
      setup.load("{\"text\": \"a\", \"label\": \"yes\"}\n{\"text\": \"a\", \"label\": \"no\"}\n{\"text\": \"a\", \"label\": \"yes\"}");
  const LabelSet found = find_labels(names, std::nullopt);
  EXPECT_EQ(found.names, (std::vector<std::string>{"no", "yes"}));
  const Dataset values = setup.load("{\"text\": \"a\", \"label\": 2}\n{\"text\": \"a\", \"label\": 1.5}");
  EXPECT_TRUE(find_labels(values, std::nullopt).is_regression);
  EXPECT_EQ(find_labels(values, std::nullopt).num_labels(), 1);
  // A CSV cell that parses as a number is a number.
  EXPECT_EQ(setup.load("text,label\na,1\nb,0\n", "x.csv").labels.kind, LabelKind::kIntegers);
  EXPECT_EQ(setup.load("text,label\na,1\nb,0.5\n", "x.csv").labels.kind, LabelKind::kReals);
  EXPECT_EQ(setup.load("text,label\na,good\nb,bad\n", "x.csv").labels.names, (std::vector<std::string>{"good", "bad"}));
}

std::optional<LabelSet> labels_of(const Json& config) {
  return read_label_set(JsonReader(config, "config.json", ErrorKind::kModel));
}

TEST(Labels, AreTheModelsIfItDefinesThem) {
  ClassificationSetup setup;
  const auto known = labels_of({{"id2label", {{"0", "yes"}, {"1", "no"}, {"2", "maybe"}}}});
  const std::string rows = "{\"text\": \"a\", \"label\": \"no\"}\n{\"text\": \"a\", \"label\": \"yes\"}";
  EXPECT_EQ(targets_of(setup.labelled(rows, known)), (std::vector<std::optional<double>>{1, 0}));
  const std::string numbers = "{\"text\": \"a\", \"label\": 2}\n{\"text\": \"a\", \"label\": 3}";
  test::expect_error(ErrorKind::kData, {"x.jsonl:2", "found 3", "expected one of yes, no, maybe"}, [&] { setup.labelled(numbers, known); });
  const std::string other = "{\"text\": \"a\", \"label\": \"no\"}\n{\"text\": \"a\", \"label\": \"never\"}";
  test::expect_error(ErrorKind::kData, {"x.jsonl:2", "\"never\"", "yes, no, maybe"}, [&] { setup.labelled(other, known); });
  test::expect_error(ErrorKind::kData, {"x.jsonl:1", "found 2", "a class from 0 to 1"}, [&] {
    setup.labelled(numbers, labels_of({{"num_labels", 2}}));
  });
  // Names that replace the LABEL_<number> of transformers.
  EXPECT_EQ(find_labels(setup.load(rows), labels_of({{"num_labels", 2}})).names, (std::vector<std::string>{"no", "yes"}));
  test::expect_error(ErrorKind::kData, {"data.train", "found 2 (no, yes), expected 3"}, [&] {
    find_labels(setup.load(rows), labels_of({{"num_labels", 3}}));
  });
  EXPECT_TRUE(labels_of({{"problem_type", "regression"}})->is_regression);
  EXPECT_TRUE(labels_of({{"num_labels", 1}})->is_regression);
  EXPECT_FALSE(labels_of({{"id2label", {{"0", "a"}, {"1", "b"}}}, {"problem_type", nullptr}})->is_regression);
  EXPECT_FALSE(labels_of(Json::object()));
  test::expect_error(ErrorKind::kData, {"x.jsonl:1", "found \"no\"", "expected a number"}, [&] {
    setup.labelled(rows, labels_of({{"num_labels", 1}}));
  });
}

TEST(Labels, FaultsOfAConfigNameTheKey) {
  const auto expect_fault = [](const Json& config, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { labels_of(config); });
  };
  expect_fault({{"problem_type", "multi_label_classification"}}, {"config.json: problem_type", "regression"});
  expect_fault({{"problem_type", "regression"}, {"num_labels", 2}}, {"problem_type", "id2label has 2"});
  expect_fault({{"id2label", {{"0", "a"}, {"2", "b"}}}}, {"id2label", "\"0\", \"1\""});
  expect_fault({{"id2label", Json::object()}}, {"id2label"});
}

TEST(Labels, ComeBackFromTheCache) {
  ClassificationSetup setup;
  setup.options.cache_dir = setup.folder.path() / "cache";
  const std::string rows = "{\"text\": \"a\", \"text_pair\": \"b\", \"label\": \"yes\"}\n{\"text\": \"a\", \"label\": \"no\"}";
  const Dataset first = setup.load(rows), second = setup.load(rows);
  EXPECT_FALSE(std::filesystem::is_empty(setup.options.cache_dir));
  EXPECT_EQ(targets_of(first), targets_of(second));
  EXPECT_EQ(second.labels.names, (std::vector<std::string>{"yes", "no"}));
  EXPECT_EQ(second.labels.kind, LabelKind::kNames);
  EXPECT_EQ(second_text_of(second.examples[0]), second_text_of(first.examples[0]));
  EXPECT_GT(second_text_of(second.examples[0]), 0);
  setup.source.format = RowFormat::kText;
  EXPECT_EQ(setup.load(rows).examples[0].target(), std::nullopt);
}

// scripts/golden/text_pairs.py: `tokenizers` with truncation.
TEST(TextPairs, EqualTokenizers) {
  const std::filesystem::path data = std::filesystem::path(lora::test::data_folder()) / "classification" / "pairs";
  const Json expected = read_json(data / "expected.json", ErrorKind::kData);
  for (const auto& [name, rows] : expected.items()) {
    const auto tokenizer = tokenizer::load_tokenizer(data / name);
    ClassificationSetup setup;
    setup.tokenizer = tokenizer.get();
    ASSERT_GT(rows.size(), 20u);
    for (const Json& row : rows) {
      setup.options.max_length = row["max_length"].get<int64_t>();
      const Example example = setup.load(Json{{"text", row["text"]}, {"text_pair", row["text_pair"]}, {"label", 1}}.dump()).examples.at(0);
      EXPECT_EQ(example.ids(), row["ids"].get<Ids>()) << name << " " << row.dump();
      const auto types = row["types"].get<Ids>();
      const auto second = std::find(types.begin(), types.end(), 1) - types.begin();
      EXPECT_EQ(second_text_of(example), second == static_cast<std::ptrdiff_t>(types.size()) ? 0 : second) << name << " " << row.dump();
    }
  }
}

}  // namespace
}  // namespace lora::data
