#pragma once
#include <cstdint>
#include <functional>

namespace lora::ops {

/// Calls run(first, last) for parts of [begin, end) of at least `grain` items, on LibTorch's threads; directly if there is one part.
/// (at::parallel_for itself has no threads in sources that are compiled without OpenMP, as this program's are.)
void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t first, int64_t last)>& run);

}  // namespace lora::ops
