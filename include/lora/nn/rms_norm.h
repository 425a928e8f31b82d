#pragma once
#include <string>

#include "lora/io/weight_source.h"
#include "lora/nn/norm.h"

namespace lora::nn {

/// Root mean square norm: ops::rms_norm with a weight.
class RmsNorm : public Norm {
 public:
  /// Takes `name`.weight [dim] from the source.
  RmsNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "RMSNorm"; }
  Tensor forward(const Tensor& x_TD) const override;

 private:
  BaseWeight& weight_D_;
  double eps_;
};

}  // namespace lora::nn
