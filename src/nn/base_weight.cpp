#include "lora/nn/base_weight.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nn/attached.h"

namespace lora::nn {

const Tensor& BaseWeight::in_use() const {
  const auto found = std::find_if(stand_ins_.begin(), stand_ins_.end(), [](const StandIn& stand_in) { return stand_in.enabled; });
  return found == stand_ins_.end() ? base() : found->tensor;
}

Tensor BaseWeight::current() const {
  return in_use().to(base().scalar_type());
}

void BaseWeight::use_adapter(const std::string& adapter) {
  enable_only(stand_ins_, adapter);
}

}  // namespace lora::nn
