#pragma once
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace lora::test {

/// Counts the bytes of tensors on the CPU that this thread makes while it lives, by LibTorch's own reports for profilers.
class TensorMemory {
 public:
  int64_t now() const { return count_->now; }
  /// The most at any time since reset_peak().
  int64_t peak() const { return count_->peak; }
  void reset_peak() { count_->peak = count_->now; }

 private:
  struct Count : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t alloc_size, size_t, size_t, c10::Device) override {
      now += alloc_size;
      peak = std::max(peak, now);
    }
    bool memoryProfilingEnabled() const override { return true; }

    int64_t now = 0;
    int64_t peak = 0;
  };

  std::shared_ptr<Count> count_ = std::make_shared<Count>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, count_};
};

}  // namespace lora::test
