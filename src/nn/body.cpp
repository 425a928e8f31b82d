#include "lora/nn/body.h"

#include <ATen/ATen.h>

namespace lora::nn {

Tensor Body::hidden_of(const Tensor& rows_S, const Pass& pass) const {
  return hidden(pass).index_select(0, rows_S);
}

}  // namespace lora::nn
