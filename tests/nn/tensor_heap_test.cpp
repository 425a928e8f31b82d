#include "lora/nn/tensor_heap.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

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

/// What a step does: tensors by the length of its document, of which something small stays behind.
void step(int64_t length, std::vector<torch::Tensor>& kept) {
  std::vector<torch::Tensor> layers;
  for (int i = 0; i < 30; ++i) {
    layers.push_back(torch::ones({length, 2048}));
    kept.push_back(torch::ones({1000}));
  }
}

TEST(TensorHeap, TensorsOfOtherLengthsReuseTheSamePages) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer has LibTorch's own heap";
#endif
  keep_freed_memory();
  use_tensor_heap();
  std::vector<torch::Tensor> kept;
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
  torch::Tensor a = torch::arange(1 << 20, torch::kFloat), b = a * 2;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data_ptr()) % 64, 0U);
  std::thread([a = std::move(a)]() mutable { a = torch::Tensor(); }).join();
  const torch::Tensor c = torch::zeros(1 << 20);
  EXPECT_TRUE(torch::equal(b, torch::arange(1 << 20, torch::kFloat).mul_(2)));
  EXPECT_EQ(c.sum().item<float>(), 0);
}

}  // namespace
}  // namespace lora::nn
