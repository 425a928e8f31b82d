// Resizing, conversion of DoRA to plain LoRA, and extraction from two checkpoints: compared with PEFT and with the exact decomposition.
#include <gtest/gtest.h>

#include <cmath>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/models/mapped_model.h"
#include "lora/peft/approximate.h"
#include "lora/peft/update_figures.h"
#include "peft/low_rank_svd.h"
#include "support/expect_error.h"
#include "support/golden_adapter.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::expect_near;
using test::golden_adapter;
using test::normal;
using test::pair_of;
using test::TemporaryFolder;

const fs::path kConvertCases = fs::path(lora::test::data_folder()) / "convert";

Json expected() {
  return read_json(kConvertCases / "expected.json", ErrorKind::kData);
}

io::SafetensorsCheckpoint weights_of(const std::string& name) {
  return io::SafetensorsCheckpoint(fs::path(lora::test::data_folder()) / "llama" / name / "model");
}

TEST(LowRankSvd, OfAProductEqualsThatOfTheMatrix) {
  // Includes factors with a larger rank than rows or columns.
  for (const auto& [rows, rank, columns] : {std::tuple(30, 4, 20), std::tuple(5, 9, 20), std::tuple(30, 12, 7)}) {
    const Tensor B = normal({rows, rank}, 1);
    const Tensor A = normal({rank, columns}, 2);
    const Tensor matrix = B.mm(A);
    const auto [U, S, Vh] = product_svd(B, A);
    expect_near((U * S).mm(Vh), matrix, 1e-12);
    const Tensor values = at::linalg_svdvals(matrix).narrow(0, 0, S.size(0));
    expect_near(S, values, 1e-12);
    expect_near(product_singular_values(B, A), values, 1e-12);
    EXPECT_NEAR(product_norm(B, A), matrix.norm().item<double>(), 1e-11);
  }
}

TEST(LowRankSvd, OfALargeMatrixIsNearOptimal) {
  // Singular values that decay slowly (1 / √k), as those of full fine-tuning do.
  const int64_t size = 1100;
  const Tensor U = std::get<0>(at::linalg_qr(normal({size, 200}, 1)));
  const Tensor V = std::get<0>(at::linalg_qr(normal({size, 200}, 2)));
  const Tensor values = at::arange(1, 201, at::kDouble).rsqrt();
  const Tensor matrix = ((U * values).mm(V.t())).to(at::kFloat);
  const Factors factors = factors_of_rank(leading_svd(matrix, 8, 3), 8);
  const double best = values.slice(0, 8).norm().item<double>();
  EXPECT_NEAR((matrix - factors.B.mm(factors.A)).norm().item<double>() / best, 1, 1e-4);
  const Factors again = factors_of_rank(leading_svd(matrix, 8, 3), 8);
  expect_equal(again.B, factors.B);
}

TEST(Figures, EqualThoseOfTheWholeMatrix) {
  const Json figures = expected()["figures"];
  const Adapter adapter = golden_adapter("llama/llama3/adapter");
  ASSERT_EQ(adapter.low_rank().size(), figures.size());
  for (const LowRankUpdate& update : adapter.low_rank()) {
    const UpdateFigures found = figures_of(update);
    const Json& golden = figures[update.module];
    const auto near = [&](const char* key, double value) { EXPECT_NEAR(value, golden[key].get<double>(), 1e-9 * std::abs(value)) << key; };
    near("norm_A", found.norm_A);
    near("norm_B", found.norm_B);
    near("norm_BA", found.norm_BA);
    near("effective_rank", found.effective_rank);
    near("scale", update.scale);
    EXPECT_DOUBLE_EQ(found.norm_update, update.scale * found.norm_BA);
    ASSERT_EQ(found.singular_values.size(), golden["singular_values"].size());
    for (size_t i = 0; i < found.singular_values.size(); ++i) {
      EXPECT_NEAR(found.singular_values[i], golden["singular_values"][i].get<double>(), 1e-9 * found.norm_BA);
    }
  }
  // An adapter that has not been trained.
  LowRankUpdate fresh = pair_of(adapter);
  fresh.B_OR = at::zeros_like(fresh.B_OR);
  EXPECT_EQ(figures_of(fresh).norm_update, 0);
  EXPECT_EQ(figures_of(fresh).effective_rank, 0);
  EXPECT_EQ(relative_difference(fresh, fresh), 0);
  EXPECT_NEAR(relative_difference(fresh, pair_of(adapter)), 1, 1e-12);
  // The same product from other factors of a different rank.
  LowRankUpdate doubled = pair_of(adapter);
  doubled.A_RI = at::cat({doubled.A_RI, doubled.A_RI});
  doubled.B_OR = at::cat({doubled.B_OR, doubled.B_OR}, 1) / 2;
  EXPECT_NEAR(relative_difference(doubled, pair_of(adapter)), 0, 1e-7);
  doubled.scale *= -1;
  EXPECT_NEAR(relative_difference(doubled, pair_of(adapter)), 2, 1e-7);
}

TEST(Resized, EqualsPeftsSvd) {
  const io::SafetensorsFile golden(kConvertCases / "expected.safetensors");
  const Adapter adapter = golden_adapter("llama/llama3/adapter");
  const Approximation result = resized(adapter, expected()["resized"].get<int64_t>());
  double errors = 0;
  double norms = 0;
  for (size_t i = 0; i < adapter.low_rank().size(); ++i) {
    const LowRankUpdate& update = pair_of(result.adapter, i);
    EXPECT_EQ(update.rank(), 2);
    EXPECT_EQ(update.scale, 1);
    EXPECT_EQ(update.alpha, 2);
    expect_close(delta(update), golden.tensor("resized/" + update.module), 1e-5, update.module);
    const double norm = delta(pair_of(adapter, i)).norm().item<double>();
    const double error = (delta(pair_of(adapter, i)) - delta(update)).norm().item<double>();
    EXPECT_NEAR(result.modules[i].norm, norm, 1e-5 * norm);
    EXPECT_NEAR(result.modules[i].error, error, 1e-5 * norm);
    errors += error * error;
    norms += norm * norm;
  }
  EXPECT_NEAR(result.relative_error(), std::sqrt(errors / norms), 1e-5);
  // A larger rank loses nothing and is padded with zeros.
  const Approximation larger = resized(adapter, 9);
  EXPECT_LT(larger.relative_error(), 1e-6);
  EXPECT_EQ(pair_of(larger.adapter).rank(), 9);
  expect_close(delta(pair_of(larger.adapter)), delta(pair_of(adapter)), 1e-6);
  EXPECT_FALSE(resized(golden_adapter("llama/dynamic/adapter"), 2).adapter.options.use_rslora);
}

TEST(Resized, KeepsMagnitudesAndScalesBiases) {
  Adapter adapter = golden_adapter("convert/dora");
  pair_of(adapter).bias_O = at::ones({pair_of(adapter).B_OR.size(0)});
  const double scale = pair_of(adapter).scale;
  const Approximation result = resized(adapter, 2);
  EXPECT_TRUE(result.adapter.options.use_dora);
  expect_equal(*pair_of(result.adapter).magnitude_O, *pair_of(adapter).magnitude_O);
  expect_equal(*pair_of(result.adapter).bias_O, *pair_of(adapter).bias_O * scale);
}

TEST(Baked, DoraBecomesTheNearestPlainLora) {
  const io::SafetensorsFile golden(kConvertCases / "expected.safetensors");
  const Json numbers = expected();
  const io::SafetensorsCheckpoint source = weights_of("gqa");
  const WeightOf weight_of = [&source](const std::string& module) { return source.tensor(module + ".weight"); };
  const Adapter adapter = golden_adapter("convert/dora");
  const Approximation result = baked(adapter, numbers["rank"].get<int64_t>(), weight_of);
  EXPECT_FALSE(result.adapter.options.use_dora);
  for (const ModuleError& module : result.modules) {
    const Json& best = numbers["baked"][module.module];
    EXPECT_NEAR(module.norm, best["norm"].get<double>(), 1e-5 * module.norm) << module.module;
    EXPECT_NEAR(module.error, best["error"].get<double>(), 1e-5 * module.norm) << module.module;
  }
  // With every direction nothing is lost: the weights equal those that PEFT merges.
  const Approximation whole = baked(adapter, 60, weight_of);
  EXPECT_LT(whole.relative_error(), 1e-6);
  for (const LowRankUpdate& update : whole.adapter.low_rank()) {
    EXPECT_FALSE(update.magnitude_O);
    expect_close(weight_of(update.module) + delta(update), golden.tensor("merged/" + update.module), 3e-6, update.module);
  }
  // Plain LoRA needs no weights.
  const Adapter plain = golden_adapter("llama/gqa/adapter");
  const Approximation same = baked(plain, 4, [](const std::string&) -> Tensor { throw std::logic_error("not needed"); });
  EXPECT_LT(same.relative_error(), 1e-6);
}

/// Writes a checkpoint that contains the given tensors.
fs::path write_model(const TemporaryFolder& folder, const std::string& name, const std::vector<io::NamedTensor>& tensors) {
  fs::create_directories(folder / name);
  io::save_tensors(folder / (name + "/model.safetensors"), tensors);
  return folder / name;
}

/// Two checkpoints with one difference of each kind; the differences of `q` and `other` have rank 3.
class Extracted : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const Tensor q_ = normal({12, 8}, 1, at::kFloat);
  const Tensor change_ = normal({12, 3}, 2, at::kFloat).mm(normal({3, 8}, 3, at::kFloat));
  const Tensor embedding_ = normal({9, 8}, 4, at::kFloat);
  const Tensor norm_ = at::ones({8});
  const io::SafetensorsCheckpoint base_{write_model(folder_, "base",
                                               {{"q.weight", q_},
                                                {"k.weight", q_},
                                                {"e.weight", embedding_},
                                                {"norm.weight", norm_},
                                                {"old", norm_},
                                                {"resized.weight", q_},
                                                {"step", at::zeros({1}, at::kLong)},
                                                {"other.weight", q_}})};
  const io::SafetensorsCheckpoint tuned_{write_model(folder_, "tuned",
                                                {{"q.weight", q_ + change_},
                                                 {"k.weight", q_},
                                                 {"e.weight", embedding_ + 1},
                                                 {"norm.weight", norm_ * 2},
                                                 {"new", norm_},
                                                 {"resized.weight", embedding_},
                                                 {"step", at::ones({1}, at::kLong)},
                                                 {"other.weight", q_ + change_}})};
};

TEST_F(Extracted, ContainsTheDifferencesOfTargetsAndListsTheOthers) {
  const Extraction result = extracted(base_, tuned_, {{"q", "k"}, {"e"}}, 3);
  ASSERT_EQ(result.approximation.adapter.low_rank().size(), 2U);  // k is the same in both
  for (const LowRankUpdate& update : result.approximation.adapter.low_rank()) {
    EXPECT_EQ(update.is_embedding(), update.module == "e");
    EXPECT_EQ(update.rank(), 3);
    expect_close(delta(update), update.module == "q" ? change_ : at::ones({9, 8}), 1e-5, update.module);
  }
  EXPECT_LT(result.approximation.relative_error(), 1e-5);
  std::map<std::string, NotCaptured> others;
  for (const NotCaptured& tensor : result.not_captured) {
    others[tensor.name] = tensor;
  }
  EXPECT_EQ(others.size(), 6U);
  EXPECT_EQ(others["old"].reason, "only in the base");
  EXPECT_EQ(others["new"].reason, "only in the tuned model");
  EXPECT_EQ(others["resized.weight"].reason, "of another shape");
  EXPECT_EQ(others["step"].reason, "not floating-point numbers");
  EXPECT_NEAR(others["norm.weight"].norm, std::sqrt(8.0), 1e-6);
  EXPECT_NEAR(others["other.weight"].norm, change_.norm().item<double>(), 1e-4);
  const double lost = std::pow(others["norm.weight"].norm, 2) + std::pow(others["other.weight"].norm, 2);
  const double all = lost + std::pow(change_.norm().item<double>(), 2) + 72;
  EXPECT_NEAR(result.relative_error_of_all(), std::sqrt(lost / all), 1e-4);
}

TEST_F(Extracted, ReportsThatThereIsNothingToExtract) {
  expect_error(ErrorKind::kModel, {"do not differ", "same model"}, [&] { extracted(base_, base_, {{"q"}, {}}, 3); });
  expect_error(ErrorKind::kModel, {"do not differ", "--target-modules"}, [&] { extracted(base_, tuned_, {{"k"}, {}}, 3); });
  const io::SafetensorsCheckpoint broken(write_model(folder_, "broken", {{"q.weight", q_ * std::nan("")}}));
  expect_error(ErrorKind::kModel, {"q.weight", "not finite"}, [&] { extracted(base_, broken, {{"q"}, {}}, 3); });
}

}  // namespace
}  // namespace lora::peft
