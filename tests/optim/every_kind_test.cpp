// Properties of every optimiser: resuming, memory order, threads, clipping in the same pass, the size of its state.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/optim/optimizer.h"
#include "numbers.h"
#include "support/single_thread.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::optim {
namespace {

using at::Tensor;
using test::numbers;

std::vector<OptimizerOptions> every_kind() {
  std::vector<OptimizerOptions> options;
  for (const auto& entry : kOptimizers.entries) {
    options.push_back({.kind = entry.value, .weight_decay = 0.1});
  }
  return options;
}

/// Two parameters above the 4096 elements from which 8-bit moments are quantised, one of them larger than a piece; two below.
std::vector<nn::Parameter> make_parameters(at::ScalarType dtype) {
  std::vector<nn::Parameter> parameters;
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{70, 61}, {270, 251}, {5, 3}, {7}}) {
    const auto seed = static_cast<int64_t>(parameters.size());
    parameters.push_back({"p" + std::to_string(seed), test::trained(numbers(seed, shape).to(dtype)), shape.size() > 1});
  }
  return parameters;
}

/// At step 3 the last parameter has no gradient.
void set_step_gradients(const std::vector<nn::Parameter>& parameters, int64_t step) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = parameters[i].tensor;
    const Tensor gradient = numbers(100 + 10 * step + static_cast<int64_t>(i), tensor.sizes().vec()).to(tensor.scalar_type());
    tensor.mutable_grad() = step == 3 && i + 1 == parameters.size() ? Tensor() : gradient;
  }
}

void expect_same(const std::vector<nn::Parameter>& found, const std::vector<nn::Parameter>& expected, const std::string& what) {
  for (size_t i = 0; i < expected.size(); ++i) {
    test::expect_equal(found[i].tensor, expected[i].tensor, what + ", " + found[i].name);
  }
}

TEST(EveryKind, ResumesBitForBit) {
  const test::TemporaryFolder folder;
  for (const OptimizerOptions& options : every_kind()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const std::vector<nn::Parameter> straight = make_parameters(dtype);
      const auto optimizer = make_optimizer(options, straight, 1e-2);
      std::vector<nn::Parameter> resumed;
      std::unique_ptr<Optimizer> second;
      for (int64_t step = 0; step < 8; ++step) {
        if (step == 4) {  // right after a parameter has missed a step
          io::save_tensors(folder / "state.safetensors", optimizer->state());
          for (const nn::Parameter& parameter : straight) {
            resumed.push_back({parameter.name, test::trained(parameter.tensor), parameter.weight_decay});
          }
          second = make_optimizer(options, resumed, 1e-2);
          second->load_state(io::SafetensorsFile(folder / "state.safetensors"));
        }
        set_step_gradients(straight, step);
        optimizer->step(1e-2, 0.5);
        if (second) {
          set_step_gradients(resumed, step);
          second->step(1e-2, 0.5);
        }
      }
      expect_same(resumed, straight, std::string(kOptimizers.name(options.kind)));
    }
  }
}

TEST(EveryKind, DoesNotDependOnTheNumberOfThreads) {
  for (const OptimizerOptions& options : every_kind()) {
    std::vector<std::vector<nn::Parameter>> results;
    std::vector<double> norms;
    for (const int count : {1, 3}) {
      const test::Threads threads(count);
      results.push_back(make_parameters(at::kFloat));
      const auto optimizer = make_optimizer(options, results.back(), 1e-2);
      for (int64_t step = 0; step < 3; ++step) {
        set_step_gradients(results.back(), step);
        norms.push_back(grad_norm(results.back()));
        optimizer->step(1e-2, clip_factor(norms.back(), 1.0));
      }
    }
    expect_same(results[1], results[0], std::string(kOptimizers.name(options.kind)));
    EXPECT_EQ(norms[2], norms[5]);
  }
}

TEST(EveryKind, ScalesGradientsAsIfTheyWereClippedBefore) {
  for (const OptimizerOptions& options : every_kind()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const std::vector<nn::Parameter> scaled = make_parameters(dtype);
      const std::vector<nn::Parameter> clipped = make_parameters(dtype);
      const auto first = make_optimizer(options, scaled, 1e-2);
      const auto second = make_optimizer(options, clipped, 1e-2);
      for (int64_t step = 0; step < 3; ++step) {
        set_step_gradients(scaled, step);
        set_step_gradients(clipped, step);
        for (const nn::Parameter& parameter : clipped) {
          parameter.tensor.mutable_grad() = (parameter.tensor.grad().to(at::kFloat) * 0.3F).to(dtype);
        }
        first->step(1e-2, 0.3F);
        second->step(1e-2);
      }
      expect_same(scaled, clipped, std::string(kOptimizers.name(options.kind)));
    }
  }
}

TEST(EveryKind, LeavesGradientsAndFollowsTheirMemoryOrder) {
  for (const OptimizerOptions& options : every_kind()) {
    const Tensor initial = numbers(1, {70, 61}).to(at::kFloat);
    const Tensor gradient = numbers(2, {70, 61}).to(at::kFloat);
    const std::vector<nn::Parameter> plain{{"w", test::trained(initial)}};
    const std::vector<nn::Parameter> turned{{"w", test::trained(initial)}};
    plain[0].tensor.mutable_grad() = gradient.clone();
    turned[0].tensor.mutable_grad() = gradient.t().contiguous().t();
    EXPECT_EQ(grad_norm(plain), grad_norm({{"w", plain[0].tensor}}));
    const auto version = plain[0].tensor._version();
    make_optimizer(options, plain, 0.1)->step(0.1);
    make_optimizer(options, turned, 0.1)->step(0.1);
    const std::string name(kOptimizers.name(options.kind));
    EXPECT_TRUE(at::equal(plain[0].tensor, turned[0].tensor)) << name;
    EXPECT_FALSE(at::equal(plain[0].tensor, initial)) << name;
    EXPECT_TRUE(at::equal(plain[0].tensor.grad(), gradient)) << name;
    EXPECT_TRUE(plain[0].tensor.requires_grad());
    EXPECT_GT(plain[0].tensor._version(), version) << name;  // caches of weights check it
  }
}

TEST(EveryKind, SaysHowLargeItsStateIs) {
  for (const OptimizerOptions& options : every_kind()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const std::vector<nn::Parameter> parameters = make_parameters(dtype);
      int64_t bytes = 0;
      for (const io::NamedTensor& entry : make_optimizer(options, parameters, 1e-2)->state()) {
        bytes += static_cast<int64_t>(entry.tensor.nbytes());
      }
      EXPECT_EQ(state_size(options, parameters).memory, bytes) << kOptimizers.name(options.kind);
    }
  }
  const std::vector<nn::Parameter> matrix{{"w", test::trained(at::zeros({512, 1024}))}};
  EXPECT_EQ(state_size({.kind = OptimizerKind::kAdamW8bit}, matrix).memory, 2 * (512 * 1024 + 4 * 2048) + 4);
  EXPECT_EQ(state_size({.kind = OptimizerKind::kLion8bit}, matrix).memory, 512 * 1024 + 4 * 2048);
  EXPECT_EQ(state_size({.kind = OptimizerKind::kPagedLion32bit}, matrix).memory, 4 * 512 * 1024);
  EXPECT_EQ(state_size({.kind = OptimizerKind::kAdafactor}, matrix).memory, 4 * (512 + 1024) + 4);
}

}  // namespace
}  // namespace lora::optim
