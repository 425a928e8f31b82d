// Rows of features: numbers in nested lists with a target, and errors.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/data/batches.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

struct Rows {
  SourceOptions source;
  DataOptions options;
  test::TemporaryFolder folder;

  Rows() { source.format = RowFormat::kFeatures; }
  Dataset load(const std::string& rows, const char* name = "x.jsonl") {
    source.path = folder.write(name, rows);
    return load_dataset("data.train", {source}, options, {nullptr, 100});
  }
  void expect_fault(const std::string& rows, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kData, parts, [&] { load(rows); });
  }
};

TEST(FeatureRows, BecomeOneTensorPerBatch) {
  Rows setup;
  const Dataset dataset = setup.load(R"({"features": [[1, 2.5], [3, -4e-1]], "target": 2}
{"features": [[5, 6], [7, 8]], "target": 0}
)");
  EXPECT_TRUE(dataset.has_classes());
  EXPECT_EQ(dataset.num_supervised(), 2);
  const nn::Batch batch = make_batch(dataset, {1, 0});
  EXPECT_TRUE(at::equal(batch.features().values, at::tensor({5.f, 6.f, 7.f, 8.f, 1.f, 2.5f, 3.f, -0.4f}).view({2, 2, 2})));
  EXPECT_TRUE(at::equal(batch.document_targets().values, at::tensor({0, 2}, at::kLong)));
  EXPECT_EQ(batch.num_documents(), 2);
  EXPECT_EQ(batch.num_tokens(), 2);  // one position per row
}

TEST(FeatureRows, HaveTargetsOfSeveralKinds) {
  Rows setup;
  const Dataset values = setup.load("{\"features\": [1], \"target\": 1}\n{\"features\": [2], \"target\": 0.5}\n");
  EXPECT_FALSE(values.has_classes());
  EXPECT_TRUE(at::equal(make_batch(values, {0, 1}).document_targets().values, at::tensor({1.f, 0.5f})));
  const Dataset lists = setup.load("{\"features\": [1], \"target\": [1, 2]}\n{\"features\": [2], \"target\": [3, 4.5]}\n");
  EXPECT_TRUE(at::equal(make_batch(lists, {0, 1}).document_targets().values, at::tensor({1.f, 2.f, 3.f, 4.5f}).view({2, 2})));
  Dataset names = setup.load("{\"features\": [1], \"target\": \"b\"}\n{\"features\": [2], \"target\": \"a\"}\n");
  const LabelSet found = find_labels(names, std::nullopt);
  names = resolve_labels(std::move(names), found);
  EXPECT_TRUE(at::equal(make_batch(names, {0, 1}).document_targets().values, at::tensor({1, 0}, at::kLong)));
  const Dataset none = setup.load("{\"features\": 3}\n{\"features\": 4}\n");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(make_batch(none, {0, 1}).targets));
  EXPECT_TRUE(at::equal(make_batch(none, {0, 1}).features().values, at::tensor({3.f, 4.f})));
  test::expect_error(ErrorKind::kData, {"x.jsonl:1]", "has no target", "because"}, [&] { require_targets(none, "because"); });
}

TEST(FeatureRows, CanBeInCsvAndInJson) {
  Rows setup;
  setup.source.columns = {{"features", "x"}, {"target", "y"}};
  const Dataset csv = setup.load("x,y\n\"[1, 2]\",0.5\n\"[3, 4]\",1\n", "x.csv");
  EXPECT_TRUE(at::equal(make_batch(csv, {0, 1}).features().values, at::tensor({1.f, 2.f, 3.f, 4.f}).view({2, 2})));
  EXPECT_TRUE(at::equal(make_batch(csv, {0, 1}).document_targets().values, at::tensor({0.5f, 1.f})));
  const Dataset lists = setup.load("x,y\n\"[1]\",\"[1, 2]\"\n", "x.csv");
  EXPECT_EQ(make_batch(lists, {0}).document_targets().values.sizes(), (std::vector<int64_t>{1, 2}));
  const Dataset json = setup.load("[{\"x\": [1, 2], \"y\": 3}]", "x.json");
  EXPECT_EQ(make_batch(json, {0}).features().values.sizes(), (std::vector<int64_t>{1, 2}));
  test::expect_error(ErrorKind::kData, {"x.csv:2", "column x"}, [&] { setup.load("x,y\n\"[1, 2\",0.5\n", "x.csv"); });
}

TEST(FeatureRows, FaultsNameTheLine) {
  Rows setup;
  const std::string good = "{\"features\": [[1, 2], [3, 4]], \"target\": 1}\n";
  setup.expect_fault(good + "{\"features\": [[1, 2], [3]], \"target\": 1}", {"x.jsonl:2]", "ragged", "a list of 1", "[2, 2]"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 4]], \"target\": 1e39}", {"x.jsonl:2]", "\"target\"", "in the range of float32"});
  setup.expect_fault(good + "{\"features\": [[1, 2], 3], \"target\": 1}", {"x.jsonl:2]", "ragged", "expected a list of 2"});
  setup.expect_fault(good + "{\"features\": [[1, [2]], [3, 4]], \"target\": 1}", {"x.jsonl:2]", "expected a number"});
  setup.expect_fault(good + "{\"features\": [1, 2, 3, 4], \"target\": 1}",
                     {"x.jsonl:2]", "differs from that of", "x.jsonl:1", "found [4], expected [2, 2]"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, \"4\"]], \"target\": 1}", {"x.jsonl:2]", "\"features\"", "string", "float32"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, null]], \"target\": 1}", {"x.jsonl:2]", "null"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, NaN]], \"target\": 1}", {"x.jsonl:2"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 1e39]], \"target\": 1}", {"x.jsonl:2]", "1e+39", "float32"});
  setup.expect_fault(good + "{\"features\": [], \"target\": 1}", {"x.jsonl:2]", "\"features\""});
  setup.expect_fault(good + "{\"target\": 1}", {"x.jsonl:2]", "\"features\" is missing"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 4]], \"target\": [1, 2]}",
                     {"x.jsonl:2]", "the target differs from that of", "2 values"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 4]], \"target\": [[1]]}", {"x.jsonl:2]", "\"target\"", "nested lists"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 4]], \"target\": \"a\"}", {"x.jsonl:2]", "a name among numbers"});
  setup.expect_fault(good + "{\"features\": [[1, 2], [3, 4]], \"target\": true}", {"x.jsonl:2]", "\"target\"", "boolean"});
  setup.expect_fault("{\"features\": " + std::string(20, '[') + "1" + std::string(20, ']') + "}", {"x.jsonl:1]", "deeper than 16"});
}

TEST(FeatureRows, OfTwoSetsHaveOneShape) {
  Rows setup;
  const Dataset pairs = setup.load("{\"features\": [1, 2]}\n"), triples = setup.load("{\"features\": [1, 2, 3]}\n");
  test::expect_error(ErrorKind::kData, {"found [3], expected [2]"}, [&] { require_same_shape(pairs, triples); });
  require_same_shape(pairs, setup.load("{\"features\": [5, 6]}\n"));
}

TEST(FeatureRows, AreReadAgainDespiteACache) {
  Rows setup;
  setup.options.cache_dir = setup.folder.path() / "cache";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(make_batch(setup.load("{\"features\": [1, 2]}\n"), {0}).features().values.numel(), 2);
  }
  EXPECT_FALSE(std::filesystem::exists(setup.options.cache_dir));
}

}  // namespace
}  // namespace lora::data
