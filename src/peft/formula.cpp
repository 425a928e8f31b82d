#include "peft/formula.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/base/error.h"

namespace lora::peft {

const Tensor& formula_part(const PartTensors& tensors, const std::string& module, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    model_error(module + "." + name, "is missing in the adapter's file: found other tensors of the module, expected this one too");
  }
  return found->second;
}

FirstValues constant(double value) {
  return [value](const Tensor& tensor, const at::Generator&) { tensor.fill_(value); };
}

FirstValues standard_normal() {
  return [](const Tensor& tensor, const at::Generator& generator) { tensor.normal_(0.0, 1.0, generator); };
}

FirstValues kaiming() {
  return [](const Tensor& tensor, const at::Generator& generator) {
    if (tensor.numel() == 0) {
      return;  // blocks of one value have no angles
    }
    const int64_t fan_in = tensor.numel() / tensor.size(0);
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    tensor.uniform_(-bound, bound, generator);
  };
}

}  // namespace lora::peft
