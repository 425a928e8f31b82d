// Weights of half types on float32 copies: master weights and stochastic rounding.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "lora/optim/optimizer.h"
#include "numbers.h"
#include "optim/stochastic_rounding.h"
#include "support/expect_error.h"
#include "support/single_thread.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::optim {
namespace {

using at::Tensor;
using test::expect_equal;
using test::numbers;

std::vector<OptimizerOptions> every_kind_with(WeightUpdate update) {
  std::vector<OptimizerOptions> options;
  for (const auto& entry : kOptimizers.entries) {
    options.push_back({.kind = entry.value, .weight_decay = 0.1, .weight_update = update, .rounding_seed = 7});
  }
  return options;
}

/// bfloat16 values in `dtype`: some above the 4096 elements from which 8-bit moments are quantised, one of them turned in memory.
std::vector<nn::Parameter> rounded_parameters(at::ScalarType dtype) {
  std::vector<nn::Parameter> parameters;
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{70, 61}, {270, 251}, {5, 3}, {7}}) {
    const auto seed = static_cast<int64_t>(parameters.size());
    const Tensor value = numbers(seed, shape).to(at::kBFloat16).to(dtype);
    parameters.push_back({"p" + std::to_string(seed), test::trained(seed == 0 ? value.t() : value), shape.size() > 1});
  }
  return parameters;
}

/// At step 3 the last parameter has no gradient.
void set_rounded_gradients(const std::vector<nn::Parameter>& parameters, int64_t step) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = parameters[i].tensor;
    const Tensor gradient = numbers(100 + 10 * step + static_cast<int64_t>(i), tensor.sizes().vec()).to(at::kBFloat16);
    tensor.mutable_grad() = step == 3 && i + 1 == parameters.size() ? Tensor() : gradient.to(tensor.scalar_type());
  }
}

constexpr int64_t kFloatBytes = 4 * (70 * 61 + 270 * 251 + 5 * 3 + 7);

Tensor state_of(const Optimizer& optimizer, const std::string& name) {
  for (const io::NamedTensor& entry : optimizer.state()) {
    if (entry.name == name) {
      return entry.tensor;
    }
  }
  ADD_FAILURE() << "no state " << name;
  return {};
}

TEST(WeightUpdate, MasterWeightsAreTheBitsOfFloat32Training) {
  for (const OptimizerOptions& options : every_kind_with(WeightUpdate::kMasterWeights)) {
    OptimizerOptions plain = options;
    plain.weight_update = WeightUpdate::kInPlace;
    const std::vector<nn::Parameter> halves = rounded_parameters(at::kBFloat16), floats = rounded_parameters(at::kFloat);
    const auto own = make_optimizer(options, halves, 1e-3), expected = make_optimizer(plain, floats, 1e-3);
    for (int64_t step = 0; step < 5; ++step) {
      set_rounded_gradients(halves, step);
      set_rounded_gradients(floats, step);
      own->step(1e-3, 0.3);
      expected->step(1e-3, 0.3);
    }
    for (size_t i = 0; i < halves.size(); ++i) {
      const std::string what = std::string(kOptimizers.name(options.kind)) + " " + halves[i].name;
      EXPECT_EQ(halves[i].tensor.scalar_type(), at::kBFloat16);
      expect_equal(state_of(*own, halves[i].name + ".master_weight"), floats[i].tensor.detach(), what);
      expect_equal(halves[i].tensor.detach(), floats[i].tensor.detach().to(at::kBFloat16), what);
      EXPECT_EQ(halves[i].tensor.grad().scalar_type(), at::kBFloat16) << what;
    }
    EXPECT_EQ(state_size(options, halves).memory, state_size(plain, floats).memory + kFloatBytes);
    EXPECT_EQ(state_size(options, halves).update, kFloatBytes - 4 * 7);  // the group of those with weight decay
  }
}

TEST(WeightUpdate, ResumesBitForBitAndDoesNotDependOnThreads) {
  const test::TemporaryFolder folder;
  for (const WeightUpdate update : {WeightUpdate::kMasterWeights, WeightUpdate::kStochasticRounding}) {
    for (const OptimizerOptions& options : every_kind_with(update)) {
      const std::vector<nn::Parameter> straight = rounded_parameters(at::kBFloat16);
      const auto optimizer = make_optimizer(options, straight, 1e-2);
      std::vector<nn::Parameter> resumed;
      std::unique_ptr<Optimizer> second;
      for (int64_t step = 0; step < 7; ++step) {
        if (step == 4) {
          io::save_tensors(folder / "state.safetensors", optimizer->state());
          for (const nn::Parameter& parameter : straight) {
            resumed.push_back({parameter.name, test::trained(parameter.tensor), parameter.weight_decay});
          }
          second = make_optimizer(options, resumed, 1e-2);
          second->load_state(io::SafetensorsFile(folder / "state.safetensors"));
        }
        set_rounded_gradients(straight, step);
        optimizer->step(1e-2, 0.5);
        if (second) {
          const test::Threads threads(3);
          set_rounded_gradients(resumed, step);
          second->step(1e-2, 0.5);
        }
      }
      for (size_t i = 0; i < straight.size(); ++i) {
        expect_equal(resumed[i].tensor, straight[i].tensor, std::string(kOptimizers.name(options.kind)) + " " + straight[i].name);
      }
    }
  }
}

TEST(WeightUpdate, KeepsStepsThatBfloat16RoundsAway) {
  std::map<WeightUpdate, Tensor> results;
  for (const auto& entry : kWeightUpdates.entries) {
    const std::vector<nn::Parameter> parameters{{"w", test::trained(at::ones({20'000}, at::kBFloat16))}};
    const auto optimizer = make_optimizer({.kind = OptimizerKind::kSgd, .weight_update = entry.value}, parameters, 1.0);
    for (int step = 0; step < 100; ++step) {
      parameters[0].tensor.mutable_grad() = at::full({20'000}, -0x1p-12, at::kBFloat16);
      optimizer->step(1.0);
    }
    results[entry.value] = parameters[0].tensor.detach().to(at::kDouble);
  }
  const double end = 1 + 100 * 0x1p-12;  // 1.0244, between bfloat16's 1.0234 and 1.0313
  EXPECT_TRUE(at::equal(results[WeightUpdate::kInPlace], at::ones({20'000}, at::kDouble)));
  EXPECT_EQ(results[WeightUpdate::kMasterWeights].mean().item<double>(), 1.0234375);
  // The variance of a step is p (1 - p) 2^-14 with p = 1/32: 5 standard deviations of the mean are 3e-4.
  EXPECT_NEAR(results[WeightUpdate::kStochasticRounding].mean().item<double>(), end, 5 * std::sqrt(100 * 0x1p-14 / 32 / 20'000));
}

TEST(StochasticRounding, IsUnbiasedAndAFunctionOfKeyAndPlace) {
  const Tensor values = numbers(3, {300, 333}).to(at::kFloat) * 3;
  const Tensor low = (values.view(at::kInt).bitwise_and(~0xffff)).view(at::kFloat);  // the neighbours in bfloat16
  const Tensor high = (values.view(at::kInt).bitwise_and(~0xffff) + 0x10000).view(at::kFloat);
  constexpr int kDraws = 64;
  Tensor sum = at::zeros_like(values, at::kDouble);
  Tensor last;
  for (int i = 0; i < kDraws; ++i) {
    Tensor result = at::empty_like(values, at::kBFloat16);
    round_stochastically(values, result, static_cast<uint64_t>(i));
    const Tensor wide = result.to(at::kFloat);
    EXPECT_TRUE(((wide == low) | ((wide == high) & (values != low))).all().item<bool>()) << i;
    EXPECT_FALSE(last.defined() && at::equal(last, result));
    last = result;
    sum += wide.to(at::kDouble);
  }
  // In units of the gap, the error of one draw has the variance p (1 - p), at most 1/4.
  const Tensor gap = (high - low).to(at::kDouble);
  const Tensor error = (sum / kDraws - values.to(at::kDouble)) / gap;
  const Tensor p = (values - low).to(at::kDouble) / gap;
  const double deviation = std::sqrt((p * (1 - p)).mean().item<double>() / kDraws / static_cast<double>(values.numel()));
  EXPECT_GT(deviation, 0);
  EXPECT_NEAR(error.mean().item<double>(), 0, 4 * deviation);
  EXPECT_LT(error.abs().max().item<double>(), 6 * 0.5 / std::sqrt(kDraws));
  // The same for every element, and by operators as on a GPU; in another shape with the same order.
  for (const int threads : {1, 3}) {
    const test::Threads count(threads);
    Tensor again = at::empty_like(last), by_operators = at::empty_like(last);
    round_stochastically(values, again, kDraws - 1);
    round_stochastically_by_operators(values, by_operators, kDraws - 1);
    expect_equal(again, last, "again");
    expect_equal(by_operators, last, "by operators");
  }
}

TEST(StochasticRounding, LeavesWhatBfloat16Has) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Tensor exact = at::tensor({0.0F, -0.0F, 1.0F, -2.5F, kInfinity, -kInfinity, 3e-39F}).to(at::kBFloat16);
  for (uint64_t key = 0; key < 50; ++key) {
    Tensor result = at::empty_like(exact);
    round_stochastically(exact.to(at::kFloat), result, key);
    expect_equal(result, exact, "exact");
    round_stochastically(at::full({7}, std::nanf("1"), at::kFloat), result, key);
    EXPECT_TRUE(result.isnan().all().item<bool>());
  }
}

TEST(WeightUpdate, NamesWhatHasNoUseForIt) {
  const std::vector<nn::Parameter> floats = rounded_parameters(at::kFloat), halves = rounded_parameters(at::kHalf);
  for (const WeightUpdate update : {WeightUpdate::kMasterWeights, WeightUpdate::kStochasticRounding}) {
    const OptimizerOptions options{.weight_update = update};
    test::expect_error(ErrorKind::kConfig, {"training.weight_update", "float32"}, [&] { make_optimizer(options, floats, 1e-3); });
    test::expect_error(ErrorKind::kConfig, {"training.weight_update", "float32"}, [&] { state_size(options, floats); });
  }
  test::expect_error(ErrorKind::kConfig, {"training.weight_update", "float16", "p0"},
                     [&] { make_optimizer({.weight_update = WeightUpdate::kStochasticRounding}, halves, 1e-3); });
  EXPECT_NO_THROW(make_optimizer({.weight_update = WeightUpdate::kMasterWeights}, halves, 1e-3));
}

}  // namespace
}  // namespace lora::optim
