// Checks of networks that take whole rows, and of their rows.
#include "lora/torchscript/load.h"
#include "row_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::torchscript {
namespace {

using test::expect_error;
using test::script_options;

data::Dataset rows_of(const std::string& text, data::RowFormat format = data::RowFormat::kFeatures) {
  const test::TemporaryFolder folder;
  data::SourceOptions source;
  source.format = format;
  source.path = folder.write("rows.jsonl", text);
  return data::load_dataset("data.train", {source}, {}, {nullptr, 1000});
}

data::Dataset stored_rows(const std::string& name, data::RowFormat format = data::RowFormat::kFeatures) {
  data::SourceOptions source;
  source.format = format;
  source.path = (test::kScripts / "row_runs" / (name + ".jsonl")).string();
  return data::load_dataset("data.train", {source}, {}, {nullptr, 1000});
}

std::string listed(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) {
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  }
  return "[" + text + "]";
}

/// Six features that differ for each number.
std::string features_of(int number) {
  std::vector<int> features;
  for (int k = 0; k < 6; ++k) {
    features.push_back((7 * number + 5 * k + number * k * k) % 13 - 6);
  }
  return listed(features);
}

/// Tokens of which the last `num_supervised` are supervised.
std::string tokens_of(int number, int length, int num_supervised) {
  std::vector<int> ids, labels;
  for (int t = 0; t < length; ++t) {
    ids.push_back(1 + (11 * number + 7 * t + number * t * t) % 46);
    labels.push_back(t < length - num_supervised ? -100 : ids.back());
  }
  return "{\"input_ids\": " + listed(ids) + ", \"labels\": " + listed(labels) + "}\n";
}

template <typename Row>
std::string rows_text(int count, const Row& row) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += row(i);
  }
  return text;
}

TEST(RowGuards, ARowMustNotDependOnOthersInItsBatch) {
  const data::Dataset rows = stored_rows("features");
  expect_error(ErrorKind::kModel, {"a row's prediction depends on the other rows", "BatchNorm"},
               [&] { load_row_model(script_options("bad_batch_norm"), rows, false); });
  expect_error(ErrorKind::kModel, {"a row's prediction depends on the other rows", "in training mode", "base_dropout 0"},
               [&] { load_row_model(script_options("bad_training_mean"), rows, false); });
}

TEST(RowGuards, SimilarRowsHideNothing) {
  const auto row = [](const std::string& features) { return "{\"features\": " + features + ", \"target\": 0.5}\n"; };
  const std::vector<std::string> texts{rows_text(64, [&](int i) { return row(features_of(i % 4)); }), row("[1, 2, 3, 3, 2, 1]"),
                                       row("[0, 0, 0, 0, 0, 0]") + row("[0, 0, 0, 0, 0, 0]")};
  for (const std::string& text : texts) {
    expect_error(ErrorKind::kModel, {"a row's prediction depends on the other rows"},
                 [&] { load_row_model(script_options("bad_batch_mean"), rows_of(text), false); });
  }
}

TEST(RowGuards, SmallDifferencesOfLargePredictionsAreFound) {
  for (const char* module : {"bad_batch_mean_far", "bad_batch_mean_bfloat16"}) {
    expect_error(ErrorKind::kModel, {"a row's prediction depends on the other rows"},
                 [&] { load_row_model(script_options(module), stored_rows("features"), false); });
  }
}

TEST(RowGuards, RunningStatisticsAreNotChanged) {
  const data::Dataset rows = stored_rows("features");
  models::ModelOptions options = script_options("batch_norm");
  expect_error(ErrorKind::kModel, {"changes its own tensor", "base_dropout to 0"}, [&] { load_row_model(options, rows, false); });
  options.base_dropout = 0;  // evaluation mode only reads them
  EXPECT_EQ(load_row_model(options, rows, false).model->rows()->num_outputs(), 1);
}

TEST(RowGuards, ALossMustBeAMean) {
  const data::Dataset rows = stored_rows("features");
  expect_error(ErrorKind::kModel, {"its loss is not a mean over rows", "of 4 rows, expected"},
               [&] { load_row_model(script_options("bad_sum_loss"), rows, true); });
  expect_error(ErrorKind::kModel, {"returns no loss", "[2, 1]"}, [&] { load_row_model(script_options("perceptron"), rows, true); });
}

TEST(RowGuards, ALossMustBeAMeanInTrainingModeToo) {
  const data::Dataset rows = stored_rows("features");
  models::ModelOptions options = script_options("bad_training_sum");
  expect_error(ErrorKind::kModel, {"its loss in training mode is not a mean over rows"}, [&] { load_row_model(options, rows, true); });
  options.base_dropout = 0;  // evaluation mode
  EXPECT_EQ(load_row_model(options, rows, true).model->rows()->loss_mean(), nn::LossMean::kRows);
}

TEST(RowGuards, ClassesMustHaveEqualWeights) {
  // Rows at even distances all have the same class.
  const std::string text = rows_text(
      64, [](int i) { return "{\"features\": " + features_of(i) + ", \"target\": " + (i % 16 == 3 || i % 16 == 7 ? "1" : "0") + "}\n"; });
  for (const char* module : {"bad_weighted_loss", "bad_weighted_bfloat16"}) {
    expect_error(ErrorKind::kModel, {"its loss is not a mean over rows", "class weights"},
                 [&] { load_row_model(script_options(module), rows_of(text), true); });
  }
  EXPECT_EQ(load_row_model(script_options("class_loss"), rows_of(text), true).model->rows()->loss_mean(), nn::LossMean::kRows);
}

TEST(RowGuards, TheKindOfMeanIsFoundWithRowsOfAnyLength) {
  const std::vector<std::string> texts{
      rows_text(16, [](int i) { return tokens_of(i, 4 + 5 * i % 19, 3 + 5 * i % 19); }),
      rows_text(16, [](int i) { return tokens_of(i, i == 0 ? 3 : 4 + i % 9, i == 0 ? 2 : 3 + i % 9); }),  // a short one
      rows_text(16, [](int i) { return tokens_of(i, 12, i % 4 == 0 ? 1 : 2 + i % 5); }),                  // completions of one token
      rows_text(16, [](int i) { return tokens_of(i, 12, 3); }),                                           // of equally many
      rows_text(16, [](int i) { return tokens_of(i, i == 0 ? 2 : 9, 1); }),
      tokens_of(1, 6, 4)};
  for (const std::string& text : texts) {
    const data::Dataset rows = rows_of(text, data::RowFormat::kTokens);
    const auto mean = [&](const char* module, std::optional<std::string> output = {}) {
      models::ModelOptions options = script_options(module);
      options.output = std::move(output);
      return load_row_model(options, rows, true).model->rows()->loss_mean();
    };
    EXPECT_EQ(mean("row_mean_loss"), nn::LossMean::kRows) << text;
    EXPECT_EQ(mean("row_mean_bfloat16"), nn::LossMean::kRows) << text;
    EXPECT_EQ(mean("masked_loss", "0"), nn::LossMean::kTokens) << text;
  }
}

TEST(RowGuards, EachRowNeedsAPrediction) {
  expect_error(ErrorKind::kModel, {"returns no prediction for each row", "[]", "model.output"},
               [&] { load_row_model(script_options("bad_no_prediction"), stored_rows("features"), false); });
}

TEST(RowGuards, ArgumentsAreFieldsOfTheRows) {
  const data::Dataset rows = stored_rows("features");
  expect_error(ErrorKind::kConfig, {"model.inputs", "the argument 'x'", "features, target"},
               [&] { load_row_model(script_options("autoencoder"), rows, true); });
  models::ModelOptions options = script_options("perceptron_loss");
  options.inputs = {"features", "input_ids"};
  expect_error(ErrorKind::kConfig, {"model.inputs", "'input_ids'"}, [&] { load_row_model(options, rows, true); });
  options.inputs = {"target", "target"};
  expect_error(ErrorKind::kConfig, {"model.inputs", "lacks features"}, [&] { load_row_model(options, rows, true); });
  expect_error(ErrorKind::kConfig, {"model.inputs", "features"},
               [&] { load_row_model(script_options("perceptron"), stored_rows("tokens", data::RowFormat::kTokens), false); });
  expect_error(ErrorKind::kConfig, {"model.inputs", "the argument 'features'", "input_ids"},
               [&] { load_model(script_options("perceptron")); });
}

TEST(RowGuards, AModuleThatTakesTargetsNeedsThem) {
  const data::Dataset rows = rows_of("{\"features\": [1, 2, 3, 4, 5, 6], \"target\": 0.5}\n{\"features\": [1, 2, 3, 4, 5, 7]}\n");
  expect_error(ErrorKind::kData, {"rows.jsonl:2]", "has no target", "'target'"},
               [&] { load_row_model(script_options("perceptron_loss"), rows, true); });
  models::ModelOptions options = script_options("autoencoder");
  options.inputs = {"features"};
  EXPECT_EQ(load_row_model(options, rows, true).model->rows()->loss_mean(), nn::LossMean::kRows);
}

TEST(RowGuards, ASecondSetNeedsTargetsAndKnownIdsToo) {
  const std::string row = "{\"features\": [1, 2, 3, 4, 5, 6]";
  const data::Dataset rows = rows_of(row + ", \"target\": 0.5}\n" + row + ", \"target\": 1.5}\n");
  const data::Dataset second = rows_of(row + ", \"target\": 0.5}\n" + row + "}\n");
  for (const char* module : {"perceptron_loss", "optional_target"}) {  // without targets the second would silently compute another loss
    expect_error(ErrorKind::kData, {"rows.jsonl:2]", "has no target", "'target'"},
                 [&] { load_row_model(script_options(module), rows, true, &second); });
  }
  models::ModelOptions options = script_options("optional_target");
  options.inputs = {"features"};
  EXPECT_NE(load_row_model(options, rows, true, &second).model, nullptr);  // it takes no target here

  const auto label = [](const std::string& ids) { return "{\"input_ids\": [" + ids + "], \"label\": 0}\n"; };
  const data::Dataset known = rows_of(label("1, 2") + label("3, 4"), data::RowFormat::kClassification);
  const data::Dataset unknown = rows_of(label("1, 2") + label("3, 48"), data::RowFormat::kClassification);
  expect_error(ErrorKind::kData, {"rows.jsonl:2]", "found 48, expected 0 to 47"},
               [&] { load_row_model(script_options("document_classifier"), known, false, &unknown); });
}

TEST(RowGuards, FeaturesOfAnotherShapeAreTheModulesError) {
  const data::Dataset rows = rows_of("{\"features\": [1, 2, 3], \"target\": 0.5}\n{\"features\": [1, 2, 4], \"target\": 0.5}\n");
  expect_error(ErrorKind::kModel, {"fails on inputs of [2, 3]"}, [&] { load_row_model(script_options("perceptron"), rows, false); });
}

TEST(RowGuards, FeaturesMustBeFiniteInTheDtypeOfTheModule) {
  const data::Dataset rows = stored_rows("features");
  const data::Dataset large = rows_of(
      "{\"features\": [1, 2, 3, 4, 5, 6], \"target\": 0.5}\n"
      "{\"features\": [1, 2, 3, 4, 5, -70000], \"target\": 0.5}\n");
  const models::ModelOptions options = script_options("narrow_float16");
  const std::vector<std::string> parts{"rows.jsonl:2]", "too large for the module's dtype", "found -70000.0", "the range of float16"};
  expect_error(ErrorKind::kData, parts, [&] { load_row_model(options, large, false); });
  expect_error(ErrorKind::kData, parts, [&] { load_row_model(options, rows, false, &large); });
  EXPECT_NE(load_row_model(options, rows, false).model, nullptr);
}

TEST(RowGuards, IdsBeyondTheTableAreErrorsOfTheRows) {
  const data::Dataset rows =
      rows_of("{\"input_ids\": [1, 2], \"label\": 0}\n{\"input_ids\": [3, 48], \"label\": 1}\n", data::RowFormat::kClassification);
  expect_error(ErrorKind::kData, {"rows.jsonl:2]", "found 48, expected 0 to 47"},
               [&] { load_row_model(script_options("document_classifier"), rows, false); });
}

TEST(RowGuards, OneRowIsEnough) {
  const data::Dataset rows = rows_of("{\"features\": [1, 2, 3, 4, 5, 6], \"target\": 0.5}\n");
  EXPECT_EQ(load_row_model(script_options("perceptron"), rows, false).model->rows()->num_outputs(), 1);
}

/// Whether predictions for rows of several lengths equal those of single rows.
void expect_own_predictions(const models::ModelOptions& options, const data::Dataset& rows) {
  const models::BaseModel base = load_row_model(options, rows, false);
  const at::NoGradGuard no_grad;
  const auto predict = [&](const std::vector<int64_t>& indices) {
    const nn::Batch batch = data::make_batch(rows, indices);
    return base.model->rows()->predict(nn::evaluation_pass(batch));
  };
  const at::Tensor together = predict({0, 1, 2, 3, 4});
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(at::allclose(together[i], predict({i})[0], 1e-5, 1e-6)) << i;
  }
}

TEST(RowGuards, DocumentsDoNotSeeTheirPadding) {
  const data::Dataset rows = stored_rows("documents", data::RowFormat::kClassification);
  for (const std::vector<std::string>& inputs :
       std::vector<std::vector<std::string>>{{"input_ids", "attention_mask"}, {"input_ids", "position_ids"}}) {
    models::ModelOptions options = script_options("document_classifier");
    options.inputs = inputs;  // the second has weights at the padding instead of a mask
    expect_own_predictions(options, rows);
  }
}

TEST(RowGuards, PaddingIsCheckedWithDocumentsOfAnyLength) {
  const auto rows = [](int length_of_first) {
    return rows_of(rows_text(16,
                             [&](int i) {
                               const std::string tokens = tokens_of(i, i == 0 ? length_of_first : 3 + 5 * i % 19, 1);
                               return tokens.substr(0, tokens.find(", \"labels")) + ", \"label\": 0.5}\n";
                             }),
                   data::RowFormat::kClassification);
  };
  for (const int length_of_first : {1, 2, 5}) {
    expect_own_predictions(script_options("pool"), rows(length_of_first));
  }
}

}  // namespace
}  // namespace lora::torchscript
