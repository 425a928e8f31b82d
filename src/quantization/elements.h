// From dtypes of tensors to the element types of the kernels.
#pragma once
#include <ATen/core/Tensor.h>

#include <stdexcept>

#include "lora/base/elements.h"

namespace lora::quantization {

inline bool is_value_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

/// Calls run.template operator()<S>() with the element type of `dtype`: float32, bfloat16 or float16.
template <typename Run>
void with_element(at::ScalarType dtype, const Run& run) {
  switch (dtype) {
    case at::kFloat:
      run.template operator()<float>();
      return;
    case at::kBFloat16:
      run.template operator()<BFloat16>();
      return;
    case at::kHalf:
      run.template operator()<Half>();
      return;
    default:
      throw std::invalid_argument("packed matrices have values in float32, bfloat16 or float16");
  }
}

/// The same with the types of values and of results: run.template operator()<V, S>().
template <typename Run>
void with_elements(at::ScalarType value_dtype, at::ScalarType dtype, const Run& run) {
  with_element(value_dtype, [&]<typename V>() { with_element(dtype, [&]<typename S>() { run.template operator()<V, S>(); }); });
}

}  // namespace lora::quantization
