// From tensors to kernels: pointers by dtype, rows distributed over threads.
#pragma once
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>

#include <algorithm>

#include "lora/ops/parallel.h"
#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

/// The kernels' type for a dtype of c10.
template <typename scalar_t>
struct Element {
  using type = scalar_t;
};
template <>
struct Element<at::BFloat16> {
  using type = BFloat16;
};
template <>
struct Element<at::Half> {
  using type = Half;
};

template <typename S>
S* pointer(const at::Tensor& tensor) {
  return static_cast<S*>(tensor.mutable_data_ptr());
}

/// Calls `run` with the kernels' element type of `dtype`: run.template operator()<S>().
template <typename Run>
void with_element(at::ScalarType dtype, const Run& run) {
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dtype, "cpu kernel",
                                  [&] { run.template operator()<typename Element<scalar_t>::type>(); });
}

/// Calls run(begin, end) for parts of [0, count), none of which has many fewer elements than a thread is worth.
/// @param elements per item.
template <typename Run>
void in_parallel(int64_t count, int64_t elements, const Run& run) {
  constexpr int64_t kElementsPerTask = 32768;
  parallel_for(0, count, std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements)), run);
}

}  // namespace lora::ops::cpu
