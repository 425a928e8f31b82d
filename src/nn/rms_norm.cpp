#include "lora/nn/rms_norm.h"

#include <ATen/core/Tensor.h>

namespace lora::nn {

RmsNorm::RmsNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options,
                 ops::NormWeight form)
    : Norm(name),
      weight_D_(add_weight(
          "weight",
          source.get(name + ".weight", {dim}, form == ops::NormWeight::kOnePlus ? io::WeightRole::kNormOffset : io::WeightRole::kNorm)
              .to(options),
          false)),
      eps_(eps),
      form_(form) {}

Tensor RmsNorm::forward(const Tensor& x_TD) const {
  return ops::rms_norm(x_TD, weight_D_.current(), eps_, form_);
}

Kept RmsNorm::kept() const {
  const bool is_widened = form_ != ops::NormWeight::kPlain && weight_D_.base().element_size() < 4;
  return is_widened ? Kept{0, dim() + 1} : Kept{dim(), 1};
}

}  // namespace lora::nn
