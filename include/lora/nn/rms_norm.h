#pragma once
#include <string>

#include "lora/io/weight_source.h"
#include "lora/nn/norm.h"
#include "lora/ops/rms_norm.h"

namespace lora::nn {

/// Root mean square norm: ops::rms_norm with a weight, which is applied as `form` says.
class RmsNorm : public Norm {
 public:
  /// Takes `name`.weight [dim] from the source.
  RmsNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options,
          ops::NormWeight form = ops::NormWeight::kPlain);

  const char* kind() const override { return "RMSNorm"; }
  Tensor forward(const Tensor& x_TD) const override;
  Kept kept() const override;

 private:
  BaseWeight& weight_D_;
  double eps_;
  ops::NormWeight form_;
};

}  // namespace lora::nn
