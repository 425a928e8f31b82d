#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cuda/emulation.h"
#include "lora/base/own_library.h"
#include "lora/ops/cuda.h"
#include "ops/cuda_module.h"

namespace lora::ops {
namespace {

using testing::HasSubstr;

TEST(CudaModule, LoadsWithEveryFunctionAlsoWithoutADriver) {
#ifdef LORA_CUDA_MODULE
  ASSERT_TRUE(std::filesystem::exists(LORA_CUDA_MODULE));
  EXPECT_TRUE(std::filesystem::equivalent(own_library("liblora_cuda.so"), LORA_CUDA_MODULE)) << "where programs look for it";
  const CudaModule module = load_cuda_module(LORA_CUDA_MODULE);
  EXPECT_EQ(module.failure, "");
  ASSERT_NE(module.kernels.error_text, nullptr);
  EXPECT_STRNE(module.kernels.error_text(module.kernels.check_devices()), "");
#else
  GTEST_SKIP() << "liblora_cuda.so is not built: CMake found no nvcc of version 12 or later, or LORA_CUDA=OFF";
#endif
}

TEST(CudaModule, WhatIsNoModuleIsRefusedWithTheReason) {
  EXPECT_THAT(load_cuda_module("/no/such/liblora_cuda.so").failure, HasSubstr("/no/such/liblora_cuda.so"));
  EXPECT_THAT(load_cuda_module("libc.so.6").failure, HasSubstr("lora_cuda_interface_version"));
}

TEST(CudaModule, ServesTensorsOfTheCpuNever) {
  EXPECT_EQ(cuda_kernels(at::zeros({1})), nullptr);
}

int32_t divergent_kernel_threads = 0;

void divergent_kernel(int32_t) {
  if (threadIdx.x < 32) {
    __syncthreads();
    ++divergent_kernel_threads;
  }
}

struct LaunchShape {
  dim3 grid, block;
};

TEST(CudaEmulationDeathTest, ABarrierThatSomeThreadsNeverReachEndsTheProgram) {
  const LaunchShape shape{dim3(1), dim3(64)};
  EXPECT_DEATH(device::launch(divergent_kernel, shape, CudaPlace{}, int32_t{0}), "barrier that others never reach");
  EXPECT_DEATH(device::launch(divergent_kernel, LaunchShape{dim3(0), dim3(64)}, CudaPlace{}, int32_t{0}), "no launch of this shape");
}

}  // namespace
}  // namespace lora::ops
