#include "peft/formula.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lora::peft {

FirstValues constant(double value) {
  return [value](const Tensor& tensor, const at::Generator&) { tensor.fill_(value); };
}

FirstValues standard_normal() {
  return [](const Tensor& tensor, const at::Generator& generator) { tensor.normal_(0.0, 1.0, generator); };
}

FirstValues kaiming() {
  return [](const Tensor& tensor, const at::Generator& generator) {
    const int64_t fan_in = tensor.numel() / tensor.size(0);
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    tensor.uniform_(-bound, bound, generator);
  };
}

}  // namespace lora::peft
