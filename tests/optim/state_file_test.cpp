// Moments in a mapped file: the same bits as in memory, a file of the size that was announced, and its end.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lora/base/scratch_file.h"
#include "lora/optim/optimizer.h"
#include "numbers.h"
#include "optim/groups.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::optim {
namespace {

using at::Tensor;
using test::numbers;

std::vector<OptimizerOptions> kinds_with_moments() {
  std::vector<OptimizerOptions> options;
  for (const OptimizerFacts& facts : kOptimizerFacts) {
    if (facts.keeps_moments) {
      options.push_back({.kind = facts.kind, .weight_decay = 0.1});
    }
  }
  return options;
}

std::vector<nn::Parameter> filed_parameters(at::ScalarType dtype) {
  std::vector<nn::Parameter> parameters;
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{70, 61}, {270, 251}, {5, 3}, {7}}) {
    const auto seed = static_cast<int64_t>(parameters.size());
    const Tensor value = numbers(seed, shape).to(dtype);
    parameters.push_back({"p" + std::to_string(seed), test::trained(seed == 0 ? value.t() : value), shape.size() > 1});
  }
  return parameters;
}

void step_once(const std::vector<nn::Parameter>& parameters, Optimizer& optimizer, int64_t step) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = parameters[i].tensor;
    tensor.mutable_grad() = numbers(100 + 10 * step + static_cast<int64_t>(i), tensor.sizes().vec()).to(tensor.scalar_type());
  }
  optimizer.step(1e-2, 0.5);
}

void expect_same_state(const Optimizer& found, const Optimizer& expected, const std::string& kind) {
  const std::vector<io::NamedTensor> state = expected.state();
  for (const io::NamedTensor& entry : found.state()) {
    const auto same = std::find_if(state.begin(), state.end(), [&](const io::NamedTensor& other) { return other.name == entry.name; });
    ASSERT_NE(same, state.end()) << kind << " " << entry.name;
    EXPECT_EQ(entry.tensor.strides(), same->tensor.strides()) << kind << " " << entry.name;
    test::expect_equal(entry.tensor, same->tensor, kind + " " + entry.name);
  }
}

/// With and without the file: the same bits, and resuming from one to the other.
TEST(StateFile, GivesTheBitsOfMemory) {
  const test::TemporaryFolder folder;
  for (const OptimizerOptions& in_memory : kinds_with_moments()) {
    OptimizerOptions in_file = in_memory;
    in_file.state_file = folder / "deep/states";
    const std::string kind(kOptimizers.name(in_memory.kind));
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const std::vector<nn::Parameter> first = filed_parameters(dtype), second = filed_parameters(dtype);
      auto plain = make_optimizer(in_memory, first, 1e-2);
      auto filed = make_optimizer(in_file, second, 1e-2);
      for (int64_t step = 0; step < 6; ++step) {
        if (step == 3) {  // each continues with the other's state, in the other place
          io::save_tensors(folder / "plain.safetensors", plain->state());
          io::save_tensors(folder / "filed.safetensors", filed->state());
          filed = nullptr;
          plain = make_optimizer(in_memory, first, 1e-2);
          filed = make_optimizer(in_file, second, 1e-2);
          plain->load_state(io::SafetensorsFile(folder / "filed.safetensors"));
          filed->load_state(io::SafetensorsFile(folder / "plain.safetensors"));
        }
        step_once(first, *plain, step);
        step_once(second, *filed, step);
      }
      for (size_t i = 0; i < first.size(); ++i) {
        test::expect_equal(second[i].tensor, first[i].tensor, kind);
      }
      expect_same_state(*filed, *plain, kind);
    }
  }
  EXPECT_EQ(test::files_in(folder / "deep/states"), std::vector<std::string>());
}

TEST(StateFile, HasTheSizeThatWasAnnounced) {
  const test::TemporaryFolder folder;
  for (OptimizerOptions options : kinds_with_moments()) {
    const std::vector<nn::Parameter> parameters = filed_parameters(at::kFloat);
    const StateSize in_memory = state_size(options, parameters);
    EXPECT_EQ(in_memory.file, 0);
    options.state_file = folder.path();
    const StateSize in_file = state_size(options, parameters);
    const auto optimizer = make_optimizer(options, parameters, 1e-2);
    const std::vector<std::string> files = test::files_in(folder.path());
    ASSERT_EQ(files, std::vector<std::string>{"optimizer-state-1.bin"}) << kOptimizers.name(options.kind);
    EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(folder / files[0])), in_file.file);
    const int64_t page = static_cast<int64_t>(ScratchFile::file_size(0));
    const int64_t moments = in_memory.memory - in_file.memory;
    EXPECT_GE(in_file.file, page + moments);
    EXPECT_LT(in_file.file, page + moments + 8 * 64) << "each of at most eight moments begins at a multiple of 64 bytes";
    EXPECT_LT(in_file.memory, in_memory.memory / 20) << "steps and scales of blocks stay in memory";
  }
  // Two moments of float32 for 512 x 1024 elements, each a multiple of 64 bytes.
  const std::vector<nn::Parameter> matrix{{"w", test::trained(at::zeros({512, 1024}))}};
  OptimizerOptions options;
  options.state_file = folder.path();
  EXPECT_EQ(state_size(options, matrix).file, 65536 + 2 * 4 * 512 * 1024);
  EXPECT_EQ(state_size(options, matrix).memory, 4);
}

TEST(StateFile, IsAnErrorBeforeTheFirstStepWhereThereIsNoRoom) {
  const test::TemporaryFolder folder;
  OptimizerOptions options;
  options.state_file = folder.write("not_a_folder", "");
  const std::vector<nn::Parameter> parameters = filed_parameters(at::kFloat);
  test::expect_error(ErrorKind::kOutput, {"not_a_folder", "cannot be created as a folder"},
                     [&] { make_optimizer(options, parameters, 1e-2); });
  // 512 PiB: more than any disk has.
  const std::vector<nn::Parameter> huge{
      {"w", at::empty({int64_t{1} << 28, int64_t{1} << 28}, at::TensorOptions(at::kMeta).dtype(at::kFloat))}};
  options.state_file = folder / "states";
  test::expect_error(ErrorKind::kOutput, {"optimizer-state-1.bin", "cannot be given its size", "expected room for"},
                     [&] { make_optimizer(options, huge, 1e-2); });
  EXPECT_TRUE(test::files_in(folder / "states").empty());
}

TEST(StateFile, GroupsAreSplitAndKeepTheirRates) {
  std::vector<nn::Parameter> parameters;
  for (const int64_t size : {3, 4, 9, 2, 2, 2}) {
    parameters.push_back({"p" + std::to_string(parameters.size()), at::zeros({size})});
  }
  std::vector<size_t> sizes;
  for (const ParameterGroup& group : split_groups({{0.25, 2.0, parameters}, {0.0, 1.0, {parameters[0]}}}, 7)) {
    sizes.push_back(group.parameters.size());
    EXPECT_EQ(group.rate_factor, group.weight_decay == 0.25 ? 2.0 : 1.0);
  }
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 1, 3, 1}));
}

}  // namespace
}  // namespace lora::optim
