#include "lora/nn/tensor_heap.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "lora/base/heap.h"

namespace lora::nn {
namespace {

/// The size of the resident set, in pages.
int64_t resident_pages() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident;
}

/// Imitates a step: tensors sized by the length of its document, of which a small one survives.
void step(int64_t length, std::vector<at::Tensor>& kept) {
  std::vector<at::Tensor> layers;
  for (int i = 0; i < 30; ++i) {
    layers.push_back(at::ones({length, 2048}));
    kept.push_back(at::ones({1000}));
  }
}

TEST(TensorHeap, TensorsOfOtherLengthsReuseTheSamePages) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer has LibTorch's own heap";
#endif
  keep_freed_memory();
  use_tensor_heap();
  std::vector<at::Tensor> kept;
  step(200, kept);
  const int64_t before = resident_pages();
  for (const int64_t length : {150, 199, 180, 120, 190, 170, 160, 198, 155}) {
    step(length, kept);
  }
  const int64_t tensor_pages = int64_t{200} * 2048 * 4 / 4096;
  EXPECT_LT(resident_pages() - before, 3 * tensor_pages) << "the heap grew by more than what was kept";
}

TEST(TensorHeap, TensorsHoldTheirValuesAndDieOnAnyThread) {
  use_tensor_heap();
  at::Tensor a = at::arange(1 << 20, at::kFloat), b = a * 2;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data_ptr()) % 64, 0U);
  std::thread([a = std::move(a)]() mutable { a = at::Tensor(); }).join();
  const at::Tensor c = at::zeros(1 << 20);
  EXPECT_TRUE(at::equal(b, at::arange(1 << 20, at::kFloat).mul_(2)));
  EXPECT_EQ(c.sum().item<float>(), 0);
}

}  // namespace
}  // namespace lora::nn
