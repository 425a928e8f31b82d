// Encoders and heads that score documents, compared with transformers, with complete and incomplete folders.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/models/base_model.h"
#include "lora/models/mapped_model.h"
#include "support/batches.h"
#include "support/changed_model.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

using test::Golden;

ModelOptions classifier_options(const std::filesystem::path& folder, ComputeDtype dtype = ComputeDtype::kFloat32) {
  ModelOptions options;
  options.path = folder;
  options.device = "cpu";
  options.dtype = dtype;
  return options;
}

BaseModel load_classifier(const Golden& golden, ComputeDtype dtype = ComputeDtype::kFloat32, uint64_t seed = 0, int64_t labels = 2) {
  return load_base_model(classifier_options(golden.folder / "model", dtype), seed, SequenceHeadRequest{labels});
}

class ClassifierGolden : public testing::TestWithParam<std::string> {};

TEST_P(ClassifierGolden, HiddenStatesEqualTransformers) {
  const Golden golden(GetParam());
  const BaseModel base = load_classifier(golden);
  const nn::Batch batch = test::batch_of({golden.rows("rows.jsonl").front()});
  const at::NoGradGuard no_grad;
  test::expect_close(base.model->body->hidden(nn::evaluation_pass(batch)), golden.tensors().tensor(golden.last_hidden("base")), 1e-5);
}

TEST_P(ClassifierGolden, DocumentsOfABatchAreAsIfAlone) {
  const Golden golden(GetParam());
  const BaseModel base = load_classifier(golden);
  const std::vector<test::Document> documents = golden.rows("eval.jsonl");
  const nn::Batch together = test::batch_of(documents);
  const at::NoGradGuard no_grad;
  const auto logits_of = [&](const nn::Batch& batch) {
    const nn::Pass pass = nn::evaluation_pass(batch);
    return base.model->documents->scores(*base.model->body, pass);
  };
  const at::Tensor all_NC = logits_of(together);
  ASSERT_EQ(all_NC.sizes(), (std::vector<int64_t>{static_cast<int64_t>(documents.size()), 2}));
  for (size_t d = 0; d < documents.size(); ++d) {
    test::expect_close(all_NC[static_cast<int64_t>(d)], logits_of(test::batch_of({documents[d]}))[0], 1e-5,
                       "document " + std::to_string(d));
  }
}

TEST_P(ClassifierGolden, HalfPrecisionIsFiniteAndNear) {
  // As in golden_test.cpp, for the last hidden states.
  const Golden golden(GetParam());
  const nn::Batch batch = test::batch_of({golden.rows("rows.jsonl").front()});
  const at::NoGradGuard no_grad;
  const at::Tensor expected = golden.tensors().tensor(golden.last_hidden("base"));
  for (const auto& [dtype, bound] : {std::pair{ComputeDtype::kBFloat16, 0.06}, {ComputeDtype::kFloat16, 0.01}}) {
    const BaseModel base = load_classifier(golden, dtype);
    const at::Tensor hidden_TD = base.model->body->hidden(nn::evaluation_pass(batch));
    EXPECT_TRUE(at::isfinite(hidden_TD).all().item<bool>());
    test::expect_close(hidden_TD, expected, bound, toString(hidden_TD.scalar_type()));
  }
}

TEST_P(ClassifierGolden, HasPeftsDefaultTargets) {
  const Golden golden(GetParam());
  EXPECT_EQ(load_classifier(golden).model->body->default_target_modules(),
            golden.expected()["default_target_modules"].get<std::vector<std::string>>());
}

INSTANTIATE_TEST_SUITE_P(Cases, ClassifierGolden, testing::ValuesIn(test::kClassificationCases),
                         [](const auto& info) { return info.param; });

/// The base weights whose names start with `begin`.
std::vector<nn::Parameter> weights_of(const BaseModel& base, const std::string& begin) {
  std::vector<nn::Parameter> found;
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    if (parameter.name.starts_with(begin)) {
      found.push_back(parameter);
    }
  }
  return found;
}

TEST(SequenceHead, StartsAsTransformersStartsIt) {
  // The base has a pooler and no classifier.
  const Golden golden("bert_pairs");
  const BaseModel base = load_classifier(golden, ComputeDtype::kFloat32, 5, 3);
  EXPECT_EQ(base.created, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
  const std::vector<nn::Parameter> classifier = weights_of(base, "classifier.");
  ASSERT_EQ(classifier.size(), 2u);
  EXPECT_EQ(classifier[0].tensor.sizes(), (std::vector<int64_t>{3, 24}));
  EXPECT_NEAR(classifier[0].tensor.std().item<double>(), 0.02, 0.005);
  test::expect_equal(classifier[1].tensor, at::zeros({3}));
  test::expect_equal(weights_of(load_classifier(golden, ComputeDtype::kFloat32, 5, 3), "classifier.")[0].tensor, classifier[0].tensor,
                     "by the seed");
  EXPECT_FALSE(at::equal(weights_of(load_classifier(golden, ComputeDtype::kFloat32, 6, 3), "classifier.")[0].tensor, classifier[0].tensor));
}

TEST(SequenceHead, IsTakenFromAFolderThatHasOne) {
  const Golden golden("bert_full");
  const BaseModel base = load_classifier(golden);
  EXPECT_TRUE(base.created.empty());
  const BaseModel stored = load_base_model(classifier_options(golden.folder / "model"), 0, SequenceHeadRequest{});
  test::expect_equal(weights_of(stored, "classifier.weight")[0].tensor, weights_of(base, "classifier.weight")[0].tensor);
  test::expect_error(ErrorKind::kModel, {"classifier.weight", "found shape [2, 24], expected [3, 24]"},
                     [&] { load_classifier(golden, ComputeDtype::kFloat32, 0, 3); });
  test::expect_error(ErrorKind::kModel, {"no head that scores documents", "classifier.weight"},
                     [] { load_base_model(classifier_options(Golden("bert_pairs").folder / "model"), 0, SequenceHeadRequest{}); });
  const std::unique_ptr<nn::Model> mapped = map_model(golden.folder / "model");
  ASSERT_NE(mapped->documents, nullptr);
  EXPECT_EQ(mapped->hosts().back()->name(), "classifier");
  EXPECT_EQ(map_model(Golden("bert_pairs").folder / "model")->documents, nullptr);
}

TEST(SequenceHead, StandsInPlaceOfTheHeadOverTheVocabulary) {
  const BaseModel base = load_classifier(Golden("llama_classes"));
  EXPECT_EQ(base.model->head(), nullptr);
  EXPECT_EQ(base.model->hosts().back()->name(), "score");
  EXPECT_TRUE(weights_of(base, "lm_head").empty());
  EXPECT_EQ(weights_of(base, "score").size(), 1u);
}

TEST(Encoder, HasNoHeadOverTheVocabulary) {
  for (const char* name : {"bert_pairs", "roberta_classes", "distilbert_classes", "modernbert_mean"}) {
    test::expect_error(ErrorKind::kModel, {"no head over the vocabulary", "encoder '", "training.objective to \"sequence_classification\""},
                       [&] { load_base_model(classifier_options(Golden(name).folder / "model"), 0); });
  }
}

TEST(Encoder, FaultsNameTheKey) {
  const auto expect_fault = [](const char* name, const Json& changes, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { test::changed_classifier(name, changes); });
  };
  expect_fault("bert_pairs", {{"is_decoder", true}}, {"config.json: is_decoder", "only plain encoders"});
  expect_fault("modernbert_mean", {{"rope_parameters", nullptr}, {"rope_scaling", {{"rope_type", "linear"}}}},
               {"rope_parameters.full_attention", "factor", "missing"});
  expect_fault("bert_pairs", {{"position_embedding_type", "relative_key"}}, {"position_embedding_type", "\"absolute\""});
  expect_fault("bert_pairs", {{"num_attention_heads", 5}}, {"num_attention_heads", "a divisor of the hidden size (24)"});
  expect_fault("bert_pairs", {{"hidden_act", "mish"}}, {"hidden_act", "unknown activation", "gelu"});
  expect_fault("distilbert_classes", {{"dim", nullptr}}, {"dim", "missing"});
  expect_fault("modernbert_mean", {{"classifier_pooling", "max"}}, {"classifier_pooling", "\"cls\" or \"mean\""});
  expect_fault("modernbert_mean", {{"layer_types", {"full_attention"}}}, {"layer_types", "one type for each"});
}

TEST(Encoder, ModernBertsOlderKeysMeanTheSame) {
  const BaseModel now = test::changed_classifier("modernbert_mean", Json::object());
  const BaseModel before = test::changed_classifier("modernbert_mean", {{"layer_types", nullptr},
                                                                        {"rope_parameters", nullptr},
                                                                        {"global_attn_every_n_layers", 3},
                                                                        {"global_rope_theta", 160000.0},
                                                                        {"local_rope_theta", 500.0}});
  const nn::Batch batch = test::batch_of(test::documents_of({30, 12}, 80));
  const at::NoGradGuard no_grad;
  test::expect_equal(before.model->body->hidden(nn::evaluation_pass(batch)), now.model->body->hidden(nn::evaluation_pass(batch)));
}

TEST(Encoder, ADocumentLongerThanItsPositionsIsAnError) {
  for (const auto& [name, most] : {std::pair{"bert_pairs", 64}, {"roberta_classes", 62}, {"distilbert_classes", 64}}) {
    const BaseModel base = load_classifier(Golden(name));
    const at::NoGradGuard no_grad;
    base.model->body->hidden(nn::evaluation_pass(test::batch_of(test::documents_of({most}, 80))));
    test::expect_error(ErrorKind::kData, {"more tokens than the model has positions", "expected at most " + std::to_string(most)}, [&] {
      base.model->body->hidden(nn::evaluation_pass(test::batch_of(test::documents_of({3, most + 1}, 80))));
    });
  }
}

/// Dropout rates of each encoder and its head.
struct Rates {
  const char* golden;
  std::vector<const char*> keys;
};
const std::vector<Rates> kRates{{"bert_pairs", {"hidden_dropout_prob", "attention_probs_dropout_prob"}},
                                {"roberta_classes", {"hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"}},
                                {"distilbert_classes", {"dropout", "attention_dropout", "seq_classif_dropout"}},
                                {"modernbert_mean", {"attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"}}};

at::Tensor classifier_logits(const BaseModel& base, const nn::Pass& pass) {
  const at::NoGradGuard no_grad;
  return base.model->documents->scores(*base.model->body, pass);
}

TEST(EncoderDropout, EveryRateActsInTrainingAloneAndByDocument) {
  const std::vector<test::Document> documents = test::documents_of({11, 7, 16}, 80);
  const nn::Batch batch = test::batch_of(documents);
  for (const Rates& rates : kRates) {
    for (const char* key : rates.keys) {
      const BaseModel base = test::changed_classifier(rates.golden, {{key, 0.4}});
      const std::string what = std::string(rates.golden) + " " + key;
      const at::Tensor plain = classifier_logits(base, nn::evaluation_pass(batch)),
                       dropped = classifier_logits(base, nn::training_pass(batch, 3, 0));
      test::expect_equal(plain, classifier_logits(test::changed_classifier(rates.golden, Json::object()), nn::evaluation_pass(batch)),
                         what);
      EXPECT_FALSE(at::allclose(dropped, plain)) << what;
      for (size_t d = 0; d < documents.size(); ++d) {
        const nn::Batch alone = test::batch_of({documents[d]});
        test::expect_close(classifier_logits(base, nn::training_pass(alone, 3, 0))[0], dropped[static_cast<int64_t>(d)], 2e-5, what);
      }
      const BaseModel off = test::changed_classifier(rates.golden, {{key, 0.4}}, [](ModelOptions& options) { options.base_dropout = 0.0; });
      test::expect_equal(classifier_logits(off, nn::training_pass(batch, 3, 0)), plain, what + " turned off");
    }
  }
}

}  // namespace
}  // namespace lora::models
