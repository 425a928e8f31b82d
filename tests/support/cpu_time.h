#pragma once
#include <ctime>

namespace lora::test {

/// Seconds that the processor has worked for this process since then. Unlike the time of day it does not grow while others work.
class CpuTime {
 public:
  double seconds() const { return static_cast<double>(std::clock() - begin_) / CLOCKS_PER_SEC; }

 private:
  std::clock_t begin_ = std::clock();
};

}  // namespace lora::test
