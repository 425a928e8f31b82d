#include "lora/peft/lora_ga.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "peft/lora_ga_start.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::expect_near;

at::Tensor tensor_of(const Json& values, at::IntArrayRef shape) {
  return at::tensor(values.get<std::vector<float>>()).view(shape);
}

/// Each row with its first value positive: the sign of a singular vector is arbitrary.
at::Tensor without_signs(const at::Tensor& rows) {
  return rows * rows.select(1, 0).sign().unsqueeze(1);
}

TEST(LoraGa, StartsEqualPefts) {
  const Json golden = read_json(std::filesystem::path(test::data_folder()) / "lora_ga/starts.json", ErrorKind::kData);
  const auto shape = golden["shape"].get<std::vector<int64_t>>();
  const auto rank = golden["rank"].get<int64_t>();
  const double alpha = golden["lora_alpha"].get<double>();
  const at::Tensor gradient_OI = tensor_of(golden["gradient"], shape), weight_OI = tensor_of(golden["weight"], shape);
  LoraGaOptions options;
  options.stable_gamma = golden["stable_gamma"].get<int64_t>();
  for (const Json& expected : golden["cases"]) {
    options.direction = *kGradientVectors.find(expected["direction"].get<std::string>());
    options.scale = *kGradientScales.find(expected["scale"].get<std::string>());
    const LowRankStart start = lora_ga_start(options, gradient_OI, weight_OI, shape[0], {rank, alpha, alpha / static_cast<double>(rank)},
                                             at::detail::createCPUGenerator(11));
    const std::string name = expected["direction"].get<std::string>() + " " + expected["scale"].get<std::string>();
    expect_near(without_signs(start.A_RI), without_signs(tensor_of(expected["A"], {rank, shape[1]})), 1e-5, name);
    // "weight_svd" scales by a singular value of a decomposition that only has r vectors
    expect_near(without_signs(start.B_OR.t()), without_signs(tensor_of(expected["B"], {shape[0], rank}).t()), 1e-4, name);
  }
  EXPECT_EQ(golden["cases"].size(), 12U);
}

TEST(LoraGa, RandomVectorsAreTheSameForBoth) {
  const at::Tensor gradient_OI = at::randn({9, 8}, at::detail::createCPUGenerator(5), at::kFloat);
  LoraGaOptions options;
  options.direction = GradientVectors::kRandom;
  options.scale = GradientScale::kUnit;
  const auto start_with = [&](uint64_t seed) {
    return lora_ga_start(options, gradient_OI, gradient_OI, 9, {3, 3.0, 1.0}, at::detail::createCPUGenerator(seed));
  };
  const LowRankStart start = start_with(1), again = start_with(1), other = start_with(2);
  expect_equal(start.A_RI, again.A_RI, "A");
  expect_equal(start.B_OR, again.B_OR, "B");
  EXPECT_FALSE(at::equal(start.A_RI, other.A_RI));
  // B A is the gradient restricted to the directions of A.
  expect_near(start.B_OR.matmul(start.A_RI), gradient_OI.matmul(start.A_RI.t()).matmul(start.A_RI), 1e-5, "part of the gradient");
}

TEST(LoraGa, TargetsMustHaveGradientsOfTheirOwn) {
  LoraOptions options;
  options.init = LoraInit::kLoraGa;
  options.target_modules = {ModuleChoice::Kind::kList, {"q_proj"}, ""};
  options.r = 9;
  const models::BaseModel base = test::tiny_llama();
  expect_error(ErrorKind::kConfig, {"adapter.init_lora_weights", "found r 9", "q_proj", "at most 8"},
               [&] { GradientPass(options, *base.model); });
  options.target_modules.names = {"nothing"};
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "nothing"}, [&] { GradientPass(options, *base.model); });
}

}  // namespace
}  // namespace lora::peft
