#include "lora/nn/group_norm.h"

#include <ATen/core/Tensor.h>

namespace lora::nn {

GroupNorm::GroupNorm(const std::string& name, int64_t channels, const ops::GroupNormOptions& norm, io::WeightSource& source,
                     const at::TensorOptions& options)
    : Host(name),
      weight_C_(add_weight("weight", source.get(name + ".weight", {channels}, io::WeightRole::kNorm).to(options), false)),
      bias_C_(add_weight("bias", source.get(name + ".bias", {channels}, io::WeightRole::kBias).to(options), false)),
      channels_(channels),
      norm_(norm) {}

Tensor GroupNorm::forward(const Tensor& x) const {
  return ops::group_norm(x, weight_C_.current(), bias_C_.current(), norm_);
}

}  // namespace lora::nn
