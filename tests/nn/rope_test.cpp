#include "lora/nn/rope.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lora/ops/rotary.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

RopeOptions read(const Json& config, int64_t head_dim = 64) {
  return read_rope_options(JsonReader(config, "config.json", ErrorKind::kModel), head_dim,
                           config.value("max_position_embeddings", int64_t{2048}));
}

/// A row of rope.json as options. The Llama family has no key for a partial factor, so it is applied to `dim`.
RopeOptions options_of_golden(Json config) {
  const int64_t heads = config["hidden_size"].get<int64_t>() / config["num_attention_heads"].get<int64_t>();
  const int64_t head_dim = config.contains("head_dim") && !config["head_dim"].is_null() ? config["head_dim"].get<int64_t>() : heads;
  double partial = 1.0;
  if (config.contains("rope_parameters") && config["rope_parameters"].contains("partial_rotary_factor")) {
    partial = config["rope_parameters"]["partial_rotary_factor"].get<double>();
    config["rope_parameters"].erase("partial_rotary_factor");
  }
  RopeOptions options = read(config, head_dim);
  options.dim = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  return options;
}

TEST(Rope, FrequenciesEqualTransformers) {
  const Json rows = read_json(std::filesystem::path(lora::test::data_folder()) / "llama" / "rope.json", ErrorKind::kData);
  ASSERT_GT(rows.size(), 40U);
  for (const Json& row : rows) {
    const RopeOptions options = options_of_golden(row["config"]);
    const Tensor actual = rope_inverse_frequencies(options, row["document_length"].is_null() ? 1 : row["document_length"].get<int64_t>());
    const Tensor expected = at::tensor(row["inv_freq"].get<std::vector<double>>(), at::kDouble);
    const std::string name = row["name"].get<std::string>() + " " + row["document_length"].dump();
    ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
    EXPECT_LE(((actual.to(at::kDouble) - expected) / expected).abs().max().item<double>(), 1e-6) << name;
    EXPECT_NEAR(rope_attention_factor(options), row["attention_factor"].get<double>(), 1e-12) << name;
  }
}

TEST(Rope, BothDialectsReadAlike) {
  const auto expect_same = [](const char* v4, const char* v5) {
    const RopeOptions a = read(Json::parse(v4)), b = read(Json::parse(v5));
    EXPECT_EQ(a.kind, b.kind) << v4;
    EXPECT_EQ(a.theta, b.theta) << v4;
    EXPECT_EQ(a.factor, b.factor) << v4;
    EXPECT_EQ(rope_attention_factor(a), rope_attention_factor(b)) << v4;
    test::expect_equal(rope_inverse_frequencies(a, 5000), rope_inverse_frequencies(b, 5000), v4);
  };
  expect_same(R"({"rope_theta": 5e5, "rope_scaling": null})", R"({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})");
  expect_same(R"({})", R"({"rope_parameters": {"rope_type": "default", "rope_theta": 10000}})");
  expect_same(R"({"rope_theta": 2e4, "rope_scaling": {"type": "linear", "factor": 2}})",
              R"({"rope_parameters": {"rope_type": "linear", "rope_theta": 2e4, "factor": 2.0}})");
  expect_same(R"({"rope_scaling": {"type": "dynamic", "factor": 3}})", R"({"rope_parameters": {"rope_type": "dynamic", "factor": 3}})");
  expect_same(R"({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                 "original_max_position_embeddings": 512}})",
              R"({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                 "original_max_position_embeddings": 512}})");
  expect_same(
      R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 512, "attention_factor": 0.9}})",
      R"({"rope_parameters": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 512, "attention_factor": 0.9}})");
}

TEST(Rope, LongRopeHasThreeNames) {
  const auto read_type = [](const char* type) {
    return read(Json{{"original_max_position_embeddings", 512},
                     {"rope_scaling", {{"type", type}, {"short_factor", {1.5, 2.0}}, {"long_factor", {3.0, 4.0}}}}},
                4);
  };
  for (const char* type : {"longrope", "su", "yarn"}) {
    const RopeOptions options = read_type(type);
    EXPECT_EQ(options.kind, RopeKind::kLongrope) << type;
    EXPECT_EQ(options.original_max_position_embeddings, 512) << type;
    EXPECT_EQ(options.factor, 4.0) << type;  // 2048 / 512
  }
}

TEST(Rope, APartOfAHeadTurnsWhereTheFamilySaysSo) {
  const auto read_part = [](const Json& config) {
    return read_rope_options(JsonReader(config, "config.json", ErrorKind::kModel), 8, 64, {.theta = 7.0, .partial_rotary_factor = 0.25});
  };
  EXPECT_EQ(read_part(Json::object()).dim, 2);
  EXPECT_EQ(read_part(Json::object()).theta, 7.0);
  EXPECT_EQ(read_part(Json{{"partial_rotary_factor", 0.5}}).dim, 4);
  EXPECT_EQ(read_part(Json{{"rope_parameters", {{"partial_rotary_factor", 0.75}}}}).dim, 6);
  for (const double part : {0.1, 0.4, 1.5}) {  // no channel, an odd number of them, more than there are
    test::expect_error(ErrorKind::kModel, {"head_dim", "of 8", "even number"}, [&] { read_part(Json{{"partial_rotary_factor", part}}); });
  }
}

TEST(Rope, FaultyKeysAreModelErrors) {
  using test::expect_error;
  expect_error(ErrorKind::kModel,
               {"config.json", "unknown rope type", "'proportional'", "default, linear, dynamic, llama3, yarn, longrope"},
               [] { read(Json::parse(R"({"rope_parameters": {"rope_type": "proportional"}})")); });
  expect_error(ErrorKind::kModel, {"rope_scaling.long_factor", "missing"},
               [] { read(Json::parse(R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2]}})"), 4); });
  for (const char* factors : {"[1]", "[1, 2, 3]", "[1, 0]", "[1, \"2\"]", "2"}) {
    const std::string config =
        std::string(R"({"rope_scaling": {"type": "longrope", "long_factor": [1, 2], "short_factor": )") + factors + "}}";
    expect_error(ErrorKind::kModel, {"rope_scaling.short_factor", "a list of 2 numbers above 0"}, [&] { read(Json::parse(config), 4); });
  }
  for (const char* type : {"linear", "dynamic", "llama3"}) {
    expect_error(ErrorKind::kModel, {"rope_scaling.factor", "missing"}, [type] { read(Json{{"rope_scaling", {{"rope_type", type}}}}); });
  }
  expect_error(ErrorKind::kModel, {"rope_parameters.low_freq_factor", "missing"},
               [] { read(Json::parse(R"({"rope_parameters": {"rope_type": "llama3", "factor": 2}})")); });
  expect_error(ErrorKind::kModel, {"rope_parameters.factor", "a number"},
               [] { read(Json::parse(R"({"rope_parameters": {"rope_type": "linear", "factor": "2"}})")); });
  for (const char* config : {R"({"rope_theta": 0})", R"({"rope_parameters": {"rope_type": "linear", "factor": 0}})",
                             R"({"rope_scaling": {"type": "dynamic", "factor": -2}})",
                             R"({"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}})"}) {
    expect_error(ErrorKind::kModel, {"config.json", "expected a number above 0"}, [config] { read(Json::parse(config)); });
  }
  expect_error(ErrorKind::kModel, {"partial_rotary_factor"},
               [] { read(Json::parse(R"({"partial_rotary_factor": 0.5, "rope_parameters": {"rope_type": "linear", "factor": 2}})")); });
  EXPECT_EQ(read(Json::parse(R"({"partial_rotary_factor": 0.5})")).dim, 64);  // transformers ignores it
  expect_error(ErrorKind::kModel, {"rope_parameters", "JSON object"}, [] { read(Json::parse(R"({"rope_parameters": 7})")); });
}

TEST(Rope, TablesRestartInEachDocument) {
  const Batch batch = test::batch_of(test::documents_of({3, 5}, 50));
  RopeOptions options;
  options.dim = 6;
  const RopeTables tables = Rope(options).tables(batch.layout, at::kFloat);
  ASSERT_EQ(tables.cos_TE.sizes(), at::IntArrayRef({8, 6}));
  const Tensor frequencies = rope_inverse_frequencies(options, 1);
  for (int64_t t = 0; t < 8; ++t) {
    const double position = static_cast<double>(t < 3 ? t : t - 3);
    const Tensor angles = at::cat({frequencies, frequencies}) * position;
    test::expect_near(tables.cos_TE[t], angles.cos(), 1e-6);
    test::expect_near(tables.sin_TE[t], angles.sin(), 1e-6);
  }
  EXPECT_EQ(Rope(options).tables(batch.layout, at::kBFloat16).cos_TE.scalar_type(), at::kBFloat16);
}

TEST(Rope, DynamicTakesEachDocumentForItself) {
  RopeOptions options;
  options.kind = RopeKind::kDynamic;
  options.dim = 8;
  options.factor = 4;
  options.max_position_embeddings = 6;
  const Rope rope(options);
  const std::vector<test::Document> documents = test::documents_of({4, 9, 6, 13}, 50);
  const Batch together = test::batch_of(documents);
  const RopeTables tables = rope.tables(together.layout, at::kFloat);
  for (size_t d = 0; d < documents.size(); ++d) {
    const RopeTables alone = rope.tables(test::batch_of({documents[d]}).layout, at::kFloat);
    const int64_t begin = together.layout.host_offsets[d], end = together.layout.host_offsets[d + 1];
    test::expect_equal(tables.cos_TE.slice(0, begin, end), alone.cos_TE, "document " + std::to_string(d));
    test::expect_equal(tables.sin_TE.slice(0, begin, end), alone.sin_TE, "document " + std::to_string(d));
  }
  const RopeTables other = rope.tables(test::batch_of({documents[2]}).layout, at::kFloat);
  EXPECT_FALSE(at::equal(tables.cos_TE.slice(0, 5, 9), other.cos_TE.slice(0, 1, 5)));
}

TEST(Rope, TurnsThePairsOfChannels) {
  // Channels i and i + E/2 are one pair, rotated by the angle of the table; norms are unchanged.
  const Batch batch = test::batch_of(test::documents_of({4}, 50));
  RopeOptions options;
  options.dim = 6;
  const RopeTables tables = Rope(options).tables(batch.layout, at::kDouble);
  const Tensor x = test::normal({4, 2, 6}, 1), y = ops::rotary_embedding(x, x, tables.cos_TE, tables.sin_TE).first;
  const Tensor frequencies = rope_inverse_frequencies(options, 1);
  for (int64_t t = 0; t < 4; ++t) {
    for (int64_t i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(t) * frequencies[i].item<double>();
      const double a = x[t][1][i].item<double>(), b = x[t][1][i + 3].item<double>();
      EXPECT_NEAR(y[t][1][i].item<double>(), a * std::cos(angle) - b * std::sin(angle), 1e-6);
      EXPECT_NEAR(y[t][1][i + 3].item<double>(), b * std::cos(angle) + a * std::sin(angle), 1e-6);
    }
  }
}

}  // namespace
}  // namespace lora::nn
