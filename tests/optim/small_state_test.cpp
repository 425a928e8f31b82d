#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/optim/optimizer.h"
#include "numbers.h"
#include "optim/adamw_blockwise.h"
#include "optim/lion.h"
#include "optim/quantization.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::optim {
namespace {

using at::Tensor;
using test::numbers;

/// The parameters of scripts/golden/small_state_optimizers.py.
std::vector<nn::Parameter> parameters_of(at::ScalarType dtype) {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes{
      {"decayed.matrix", {17, 241}}, {"decayed.vector", {300}}, {"decayed.stack", {3, 4, 5}}, {"plain.bias", {3}}};
  std::vector<nn::Parameter> parameters;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto& [name, shape] = shapes[i];
    const Tensor value = numbers(1000 + static_cast<int64_t>(i), shape).to(dtype);
    parameters.push_back({name, test::trained(value), name.starts_with("decayed")});
  }
  return parameters;
}

void set_reference_gradients(std::vector<nn::Parameter>& parameters, int64_t step) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = parameters[i].tensor;
    const bool missing = parameters[i].name == "decayed.stack" && (step == 3 || step == 4);
    const Tensor gradient = numbers(10 * step + static_cast<int64_t>(i), tensor.sizes().vec()) * 0.02 * static_cast<double>(1 + step);
    tensor.mutable_grad() = missing ? Tensor() : gradient.to(tensor.scalar_type());
  }
}

OptimizerOptions small_state_options(const Json& golden) {
  OptimizerOptions options;
  options.kind = *kOptimizers.find(golden.at("kind").get<std::string>());
  options.weight_decay = golden.at("weight_decay");
  options.beta1 = golden.value("beta1", options.beta1);
  options.beta2 = golden.value("beta2", options.beta2);
  options.epsilon = golden.value("epsilon", options.epsilon);
  return options;
}

/// Rounding may move a code to the other side of a midpoint: at most one in a thousand, by one.
void expect_same_codes(const Tensor& found, const Tensor& expected, const std::string& name) {
  const Tensor difference = (found.to(at::kInt) - expected.to(at::kInt)).abs();
  EXPECT_LE(difference.max().item<int>(), 1) << name;
  EXPECT_LE(difference.sum().item<int64_t>(), found.numel() / 1000) << name;
}

/// At most one element in a thousand differs (by as much as another code causes); the others agree within `tolerance`.
void expect_parameter(const Tensor& found, const Tensor& expected, double tolerance, double largest, const std::string& name) {
  ASSERT_EQ(found.scalar_type(), expected.scalar_type()) << name;
  const Tensor difference = (found.detach().to(at::kDouble) - expected.to(at::kDouble)).abs();
  EXPECT_LE(difference.max().item<double>(), largest) << name;
  EXPECT_LE((difference > tolerance).sum().item<int64_t>(), found.numel() / 1000) << name;
}

/// A case of a golden, after its last step.
struct SmallStateRun {
  SmallStateRun(const io::SafetensorsFile& file, const std::string& name)
      : golden(parse_json(file.metadata().at(name), name, ErrorKind::kData)),
        is_half(golden.at("dtype") == "bfloat16"),
        parameters(parameters_of(is_half ? at::kBFloat16 : at::kFloat)),
        optimizer(make_optimizer(small_state_options(golden), parameters, golden.at("learning_rate"))) {
    const double rate = golden.at("learning_rate");
    const int64_t steps = golden.at("steps");
    for (int64_t step = 0; step < steps; ++step) {
      set_reference_gradients(parameters, step);
      const double norm = grad_norm(parameters);
      const double expected = file.tensor(name + "/norms")[step].item<double>();
      EXPECT_NEAR(norm, expected, expected * (is_half ? 0x1p-7 : 2e-7)) << "step " << step;
      optimizer->step(rate * (1.0 - static_cast<double>(step) / static_cast<double>(steps)), clip_factor(norm, golden.at("max_norm")));
    }
  }

  Json golden;
  bool is_half;
  std::vector<nn::Parameter> parameters;
  std::unique_ptr<Optimizer> optimizer;
};

void replay_small_state(const io::SafetensorsFile& file, const std::string& name) {
  const SmallStateRun run(file, name);
  const std::string kind = run.golden.at("kind");
  const double rate = run.golden.at("learning_rate");
  const double tolerance = run.is_half ? 0x1p-7 : 1e-6;
  for (const nn::Parameter& parameter : run.parameters) {
    // Another code changes a little of AdamW's step, and near 0 the direction of Lion's.
    const double largest = kind == "adamw_8bit" ? 0.1 * rate : kind == "lion_8bit" ? 4 * rate + tolerance : tolerance;
    expect_parameter(parameter.tensor, file.tensor(name + "/param/" + parameter.name), tolerance, largest, parameter.name);
  }
  for (const io::NamedTensor& entry : run.optimizer->state()) {
    if (entry.name.ends_with(".step")) {
      EXPECT_EQ(entry.tensor.item<int64_t>(), run.golden.at("steps").get<int64_t>() - (entry.name.starts_with("decayed.stack") ? 2 : 0))
          << entry.name;
    } else if (entry.tensor.scalar_type() == at::kByte) {
      expect_same_codes(entry.tensor, file.tensor(name + "/state/" + entry.name), entry.name);
    } else {
      test::expect_close(entry.tensor, file.tensor(name + "/state/" + entry.name), 2e-6, entry.name);
    }
  }
}

TEST(SmallState, EqualsTheReferences) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/small_state_optimizers.safetensors");
  for (const std::string name : {"lion", "adafactor", "adafactor_bfloat16", "adamw_8bit", "adamw_8bit_bfloat16"}) {
    SCOPED_TRACE(name);
    replay_small_state(file, name);
  }
}

TEST(SmallState, EqualsBitsandbytes) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/bitsandbytes_optimizers.safetensors");
  for (const std::string name :
       {"lion_32bit", "lion_32bit_bfloat16", "lion_8bit", "lion_8bit_bfloat16", "paged_adamw_32bit", "paged_adamw_32bit_bfloat16"}) {
    SCOPED_TRACE(name);
    replay_small_state(file, name);
  }
}

/// bitsandbytes' quantiser for the CPU, where 0 has the code of about 1.5e-5, changes only elements without a gradient: they then move.
TEST(SmallState, EqualsLionOfBitsandbytesTableWhereThereAreGradients) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/bitsandbytes_optimizers.safetensors");
  const SmallStateRun run(file, "lion_8bit_table");
  for (const nn::Parameter& parameter : run.parameters) {
    const Tensor found = parameter.tensor.detach();
    const Tensor has_gradient = numbers(0, found.sizes().vec()) != 0;
    const Tensor differs = (file.tensor("lion_8bit_table/param/" + parameter.name) - found).abs() > 1e-6;
    EXPECT_LE(differs.logical_and(has_gradient).sum().item<int64_t>(), found.numel() / 1000) << parameter.name;
  }
}

TEST(SmallState, MapsAreBitsandbytes) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/small_state_optimizers.safetensors");
  for (const bool is_signed : {true, false}) {
    const QuantizationMap& map = dynamic_map(is_signed);
    test::expect_equal(at::tensor(at::ArrayRef<float>(map.values)), file.tensor(is_signed ? "map/signed" : "map/unsigned"));
  }
}

TEST(SmallState, QuantisesToTheNearestValue) {
  const QuantizationMap& map = dynamic_map(true);
  // Two blocks, and a partial one that contains the largest value too.
  const auto blocks = [](const Tensor& each) { return at::cat({each, each, each.flip(0)}).narrow(0, 0, 700); };
  const Tensor values = blocks(at::tensor(at::ArrayRef<float>(map.values))) * 0.5F;
  const Tensor codes = at::zeros({700}, at::kByte);
  const Tensor absmax = at::zeros({3});
  quantize_blockwise(values, map, codes, absmax);
  test::expect_equal(codes, blocks(at::arange(256, at::kByte)));
  test::expect_equal(dequantize_blockwise(codes, absmax, map), values);
  quantize_blockwise(at::zeros({700}), map, codes, absmax);
  test::expect_equal(dequantize_blockwise(codes, absmax, map), at::zeros({700}));
}

/// Moments in plain memory, as those of a run without optim_state_file.
std::shared_ptr<StateMemory> plain_memory() {
  return make_state_memory(StatePlace::kMemory, {}, {});
}

/// Six steps by the kernels of the CPU, and by the operators for other devices: update(parameter, index, gradient).
template <typename Update>
void expect_operators_equal_kernels(const OptimizerOptions& options, at::ScalarType dtype, double largest, const Update& update) {
  std::vector<nn::Parameter> fused = parameters_of(dtype);
  std::vector<nn::Parameter> plain = parameters_of(dtype);
  const auto optimizer = make_optimizer(options, fused, 1e-2);
  for (int64_t step = 0; step < 6; ++step) {
    set_reference_gradients(fused, step);
    set_reference_gradients(plain, step);
    optimizer->step(1e-2, 0.25);
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < plain.size(); ++i) {
      if (const Tensor& gradient = plain[i].tensor.grad(); gradient.defined()) {
        update(plain[i].tensor, i, gradient);
      }
    }
  }
  for (size_t i = 0; i < plain.size(); ++i) {
    expect_parameter(plain[i].tensor, fused[i].tensor.detach(), dtype == at::kFloat ? 1e-6 : 0x1p-7, largest, plain[i].name);
  }
}

/// The implementation for other devices gives the same results as the kernels of the CPU.
TEST(SmallState, OperatorsEqualTheKernels) {
  for (const auto& [kind, format] :
       {std::pair{OptimizerKind::kAdamW8bit, MomentFormat::k8bit}, std::pair{OptimizerKind::kPagedAdamW32bit, MomentFormat::kFloat32}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const OptimizerOptions options{.kind = kind};
      std::vector<AdamWSlot> slots;
      for (const nn::Parameter& parameter : parameters_of(dtype)) {
        slots.push_back(make_adamw_slot(*plain_memory(), parameter.tensor, format));
      }
      const double largest = dtype == at::kFloat ? 1e-3 : 0x1p-7;
      expect_operators_equal_kernels(options, dtype, largest, [&](const Tensor& parameter, size_t index, const Tensor& gradient) {
        slots[index].step.add_(1);
        adamw_by_operators(parameter, slots[index], gradient, adamw_factors(options, 1e-2, 0.0, slots[index].step.item<double>(), 0.25));
      });
    }
  }
}

TEST(SmallState, OperatorsEqualTheKernelsOfLion) {
  for (const auto& [kind, format] :
       {std::pair{OptimizerKind::kLion8bit, MomentFormat::k8bit}, std::pair{OptimizerKind::kLion32bit, MomentFormat::kFloat32}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      std::vector<StoredMoment> moments;
      for (const nn::Parameter& parameter : parameters_of(dtype)) {
        moments.push_back(make_moment(*plain_memory(), parameter.tensor, format));
      }
      const OptimizerOptions options{.kind = kind};
      expect_operators_equal_kernels(options, dtype, 4e-2, [&](const Tensor& parameter, size_t index, const Tensor& gradient) {
        lion_by_operators(parameter, moments[index], gradient, {0.25, options.beta1, options.beta2, 1.0, 1e-2});
      });
    }
  }
}

TEST(SmallState, ForeachEqualsTheKernelOfLion) {
  std::vector<nn::Parameter> fused = parameters_of(at::kFloat);
  std::vector<nn::Parameter> plain = parameters_of(at::kFloat);
  const auto optimizer = make_optimizer({.kind = OptimizerKind::kLion, .weight_decay = 0.1}, fused, 1e-2);
  const ParameterGroup group{0.1, 1.0, {plain.begin(), plain.begin() + 3}};
  const std::vector<Tensor> exp_avgs = zero_moments(*plain_memory(), group);
  for (int64_t step = 0; step < 6; ++step) {
    set_reference_gradients(fused, step);
    set_reference_gradients(plain, step);
    optimizer->step(1e-2, 0.25);
    const at::NoGradGuard no_grad;
    const Updates updates = updates_of(group);
    lion_foreach(updates, chosen(exp_avgs, updates), {0.25, 0.9, 0.999, 1.0 - 1e-3, 1e-2});
  }
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    test::expect_near(plain[i].tensor, fused[i].tensor.detach(), 2e-7, plain[i].name);
  }
}

}  // namespace
}  // namespace lora::optim
