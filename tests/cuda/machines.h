#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cuda/emulated_kernels.h"
#include "lora/base/error.h"
#include "lora/nn/device.h"
#include "ops/cuda_kernels.h"
#include "support/tensors.h"

namespace lora::test {

enum class Machine { kEmulated, kGpu };

inline void PrintTo(Machine machine, std::ostream* out) {
  *out << (machine == Machine::kEmulated ? "emulated on the CPU" : "GPU");
}

/// A test that runs twice: everywhere on the kernels' code compiled for the CPU, and on the module and a GPU, if there is one.
/// References are computed by ATen on the CPU in both cases.
class OnMachines : public testing::TestWithParam<Machine> {
 protected:
  void SetUp() override {
    if (GetParam() == Machine::kEmulated) {
      kernels_ = emulated_kernels();
      return;
    }
    try {
      device_ = nn::open_device("cuda");
    } catch (const Error& error) {
      GTEST_SKIP() << "no GPU: " << error.what();
    }
    const ops::CudaKernels* kernels = ops::cuda_kernels(at::zeros({1}, at::TensorOptions(device_).dtype(at::kFloat)));
    if (kernels == nullptr) {
      GTEST_SKIP() << "liblora_cuda.so was not built or does not serve this GPU (see the log line)";
    }
    kernels_ = *kernels;
  }

  const ops::CudaKernels& kernels() const { return kernels_; }
  /// A copy on the machine, with its own memory.
  Tensor there(const Tensor& tensor) const { return tensor.defined() ? tensor.detach().clone().to(device_) : tensor; }
  std::function<Tensor(const Tensor&)> copier() const {
    return [this](const Tensor& tensor) { return there(tensor); };
  }

 private:
  ops::CudaKernels kernels_;
  at::Device device_ = at::kCPU;
};

inline std::string machine_name(const testing::TestParamInfo<Machine>& info) {
  return info.param == Machine::kEmulated ? "Emulated" : "Gpu";
}

#define LORA_ON_MACHINES(Suite) \
  INSTANTIATE_TEST_SUITE_P(Cuda, Suite, testing::Values(::lora::test::Machine::kEmulated, ::lora::test::Machine::kGpu), machine_name)

inline const std::vector<at::ScalarType> kKernelTypes{at::kFloat, at::kBFloat16, at::kHalf};

/// The distance of two neighbouring numbers of the dtype at 1.
inline double spacing(at::ScalarType type) {
  return type == at::kFloat ? std::ldexp(1.0, -23) : type == at::kHalf ? std::ldexp(1.0, -10) : std::ldexp(1.0, -7);
}

/// Every element is within `spacings` neighbouring numbers of the expected one, relative to the tensor's largest magnitude.
inline void expect_within(const Tensor& actual, const Tensor& expected, double spacings, const std::string& what) {
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  expect_close(actual.cpu(), expected, spacings * spacing(expected.scalar_type()), what);
}

}  // namespace lora::test
