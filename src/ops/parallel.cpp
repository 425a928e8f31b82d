// Compiled with OpenMP, which at::parallel_for is based on (src/CMakeLists.txt).
#include "lora/ops/parallel.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "needs OpenMP: without it at::parallel_for is a loop on one thread"
#endif

namespace lora::ops {

void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t first, int64_t last)>& run) {
  at::parallel_for(begin, end, grain, run);
}

}  // namespace lora::ops
