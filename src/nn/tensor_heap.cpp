#include "lora/nn/tensor_heap.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "lora/base/first_fit.h"

namespace lora::nn {

namespace {

constexpr size_t kLeast = size_t{256} << 10;      // smaller tensors are left to the C library
constexpr int64_t kLine = 64;                     // LibTorch's own alignment
constexpr int64_t kGrowth = int64_t{32} << 20;    // pages are made usable in steps of this size
constexpr int64_t kAddresses = int64_t{1} << 40;  // reserved address space; a run only uses what it needs

class TensorHeap : public c10::Allocator {
 public:
  explicit TensorHeap(std::byte* begin) : begin_(begin) { self() = this; }

  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kLeast ? nullptr : take(bytes);
    if (data == nullptr) {
      return c10::GetDefaultCPUAllocator()->allocate(bytes);
    }
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  static TensorHeap*& self() {
    static TensorHeap* heap = nullptr;
    return heap;
  }

  /// Null if the machine has no more memory.
  void* take(size_t bytes) {
    // One line of space between two tensors: their columns, if each is a whole number of pages, would otherwise share cache sets.
    const int64_t size = (static_cast<int64_t>(bytes) + kLine - 1) / kLine * kLine + kLine;
    const std::lock_guard lock(mutex_);
    const std::optional<int64_t> offset = pieces_.take(size);
    if (!offset) {
      return nullptr;
    }
    if (*offset + size > usable_) {
      const int64_t growth = std::min((*offset + size - usable_ + kGrowth - 1) / kGrowth * kGrowth, kAddresses - usable_);
      if (mprotect(begin_ + usable_, static_cast<size_t>(growth), PROT_READ | PROT_WRITE) != 0) {
        pieces_.give_back(*offset);
        return nullptr;
      }
      usable_ += growth;
    }
    return begin_ + *offset;
  }

  static void release(void* data) {
    TensorHeap& heap = *self();
    const auto* address = static_cast<std::byte*>(data);
    if (address < heap.begin_ || address >= heap.begin_ + kAddresses) {
      c10::GetDefaultCPUAllocator()->raw_deleter()(data);
      return;
    }
    c10::profiledCPUMemoryReporter().Delete(data);
    const std::lock_guard lock(heap.mutex_);
    heap.pieces_.give_back(address - heap.begin_);
  }

  std::byte* const begin_;
  std::mutex mutex_;
  FirstFit pieces_{kAddresses};
  int64_t usable_ = 0;
};

}  // namespace

void use_tensor_heap() {
#ifndef __SANITIZE_ADDRESS__
  void* begin = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin != MAP_FAILED) {
    c10::SetCPUAllocator(new TensorHeap(static_cast<std::byte*>(begin)), /*priority=*/1);  // for LibTorch, until the process ends
  }
#endif
}

}  // namespace lora::nn
