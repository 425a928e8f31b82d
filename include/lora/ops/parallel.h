#pragma once
#include <cstdint>
#include <functional>

namespace lora::ops {

/// run(first, last) over parts of [begin, end) of at least `grain` items, on LibTorch's threads; at once where there is one
/// part. (at::parallel_for itself has no threads in a source that is compiled without OpenMP, as ours are.)
void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t first, int64_t last)>& run);

}  // namespace lora::ops
