#include "lora/nn/dropout.h"

#include "lora/base/random.h"

namespace lora::nn {

Dropout::Dropout(const std::string& name, double p) : site_key_(hash_name(name)), p_(p) {}

Tensor Dropout::forward(const Tensor& x_TD, const Pass& pass) const {
  return ops::differentiable_dropout(x_TD, draw(pass));
}

}  // namespace lora::nn
