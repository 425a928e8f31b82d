#include "lora/optim/optimizer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "lora/base/json.h"
#include "lora/nn/weight_changes.h"
#include "support/paths.h"

namespace lora::optim {
namespace {

using at::Tensor;
using testing::HasSubstr;

Tensor leaf(const Tensor& value) {
  return value.clone().set_requires_grad(true);
}

/// What scripts/golden/optimizers.py recorded of one case.
class OptimizerGolden {
 public:
  OptimizerGolden(const io::SafetensorsFile& file, std::string name)
      : file_(file), name_(std::move(name)), options_(parse_json(file.metadata().at(name_), name_, ErrorKind::kData)) {}

  const Json& options() const { return options_; }
  Tensor tensor(const std::string& key) const { return file_.tensor(name_ + "/" + key); }
  bool contains(const std::string& key) const { return file_.contains(name_ + "/" + key); }
  OptimizerOptions optimizer_options() const {
    OptimizerOptions result;
    result.kind = options_.at("kind") == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamWFused;
    result.weight_decay = options_.at("weight_decay");
    result.beta1 = options_.value("beta1", result.beta1);
    result.beta2 = options_.value("beta2", result.beta2);
    result.epsilon = options_.value("epsilon", result.epsilon);
    return result;
  }
  std::vector<nn::Parameter> parameters(at::Device device) const {
    std::vector<nn::Parameter> result;
    for (const std::string name : {"decayed.matrix", "decayed.vector", "plain.bias", "plain.norm"}) {
      result.push_back({name, leaf(tensor("initial/" + name).to(device)), name.starts_with("decayed")});
    }
    return result;
  }
  void set_gradients(std::vector<nn::Parameter>& parameters, size_t step) const {
    for (nn::Parameter& parameter : parameters) {
      const std::string key = std::to_string(step) + "/grad/" + parameter.name;
      parameter.tensor.mutable_grad() = contains(key) ? tensor(key).clone().to(parameter.tensor.device()) : Tensor();
    }
  }

 private:
  const io::SafetensorsFile& file_;
  std::string name_;
  Json options_;
};

void expect_recorded(const Tensor& found, const Tensor& expected, const std::string& what) {
  const bool half = expected.scalar_type() == at::kBFloat16;
  // bfloat16: one unit in the last place, which another order of rounding in the kernel can cause.
  EXPECT_TRUE(at::allclose(found.detach().cpu().to(at::kDouble), expected.to(at::kDouble), half ? 0x1p-7 : 1e-7, 1e-7)) << what;
  EXPECT_EQ(found.scalar_type(), expected.scalar_type()) << what;
}

void replay_optimizer(const OptimizerGolden& golden, at::Device device) {
  std::vector<nn::Parameter> parameters = golden.parameters(device);
  const std::vector<double> rates = golden.options().at("learning_rates");
  const auto optimizer = make_optimizer(golden.optimizer_options(), parameters, rates.front());
  const double max_norm = golden.options().at("max_norm");
  const bool half = parameters.front().tensor.scalar_type() == at::kBFloat16;
  for (size_t step = 0; step < rates.size(); ++step) {
    golden.set_gradients(parameters, step);
    const double norm = golden.tensor("norms")[static_cast<int64_t>(step)].item<double>();
    const double found = grad_norm(parameters);
    EXPECT_NEAR(found, norm, norm * (half ? 0x1p-7 : 2e-7)) << "step " << step;
    optimizer->step(rates[step], clip_factor(found, max_norm));
    for (const nn::Parameter& parameter : parameters) {
      expect_recorded(parameter.tensor, golden.tensor(std::to_string(step) + "/param/" + parameter.name),
                      parameter.name + ", step " + std::to_string(step));
    }
  }
  for (const io::NamedTensor& entry : optimizer->state()) {
    expect_recorded(entry.tensor, golden.tensor("state/" + entry.name), entry.name);
  }
}

TEST(Optimizer, EqualsTorchStepByStep) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/optimizers.safetensors");
  for (const std::string name : {"adamw_float32", "adamw_defaults", "adamw_bfloat16", "sgd_float32", "sgd_no_decay", "sgd_bfloat16"}) {
    SCOPED_TRACE(name);
    replay_optimizer(OptimizerGolden(file, name), at::kCPU);
    if (at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0) {
      SCOPED_TRACE("cuda");
      replay_optimizer(OptimizerGolden(file, name), at::kCUDA);
    }
  }
}

TEST(Optimizer, AnnouncesThatWeightsChanged) {
  for (const OptimizerKind kind : {OptimizerKind::kAdamWFused, OptimizerKind::kSgd}) {
    OptimizerOptions options;
    options.kind = kind;
    const Tensor weight = at::ones({3}, at::kFloat).requires_grad_(true);
    const auto optimizer = make_optimizer(options, {{"w", weight}}, 0.1);
    weight.mutable_grad() = at::ones({3}, at::kFloat);
    const uint64_t before = nn::weight_changes().trained;
    optimizer->step(0.1);
    EXPECT_EQ(nn::weight_changes().trained, before + 1);
  }
}

TEST(Optimizer, RefusesAStateThatDoesNotFit) {
  const fs::path saved = fs::path(testing::TempDir()) / ("misfit." + std::to_string(::getpid()) + ".safetensors");
  const auto fresh = [] { return make_optimizer({}, {{"w", leaf(at::ones({2, 3}))}, {"v", leaf(at::ones({2}))}}, 0.1); };
  const auto error_of = [&](std::vector<io::NamedTensor> state) -> std::string {
    io::save_tensors(saved, state);
    const auto optimizer = fresh();
    try {
      optimizer->load_state(io::SafetensorsFile(saved));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kModel);
      for (const io::NamedTensor& entry : optimizer->state()) {
        EXPECT_EQ(entry.tensor.sum().item<double>(), 0.0) << "half loaded: " << entry.name;
      }
      return error.what();
    }
    return "";
  };
  auto state = fresh()->state();
  for (io::NamedTensor& entry : state) {
    entry.tensor = entry.tensor + 1;
  }
  EXPECT_EQ(error_of(state), "");
  auto other = state;
  other[3].tensor = at::ones({3});
  EXPECT_THAT(error_of(other), AllOf(HasSubstr("[v.exp_avg]"), HasSubstr("[3]"), HasSubstr("[2]")));
  other[3].tensor = at::ones({2}, at::kBFloat16);
  EXPECT_THAT(error_of(other), HasSubstr("BFloat16"));
  other.erase(other.begin() + 3);
  EXPECT_THAT(error_of(other), HasSubstr("lacks this tensor"));
  fs::remove(saved);
}

void expect_config_error(const OptimizerOptions& options, double learning_rate, const std::string& key) {
  try {
    make_optimizer(options, {{"w", leaf(at::ones({2}))}}, learning_rate);
    FAIL() << "no error about " << key;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("[training." + key + "]"));
  }
}

TEST(Optimizer, RefusesOptionsOutOfRange) {
  expect_config_error({.beta1 = 1.0}, 0.1, "adam_beta1");
  expect_config_error({.beta2 = -0.1}, 0.1, "adam_beta2");
  expect_config_error({.epsilon = -1e-8}, 0.1, "adam_epsilon");
  expect_config_error({.weight_decay = std::nan("")}, 0.1, "weight_decay");
  expect_config_error({}, -0.1, "learning_rate");
  EXPECT_THROW(make_optimizer({}, {}, 0.1), Error);
  const Tensor tensor = leaf(at::ones({2}));
  EXPECT_THROW(make_optimizer({}, {{"w", tensor}, {"w", leaf(at::ones({2}))}}, 0.1), c10::Error);
  EXPECT_THROW(make_optimizer({}, {{"w", at::ones({4, 4}).slice(1, 0, 2)}}, 0.1), c10::Error);
}

}  // namespace
}  // namespace lora::optim
