#pragma once
#include <optional>
#include <string>

#include "lora/io/weight_source.h"
#include "lora/nn/norm.h"

namespace lora::nn {

/// Layer norm with a weight and, usually, a bias: ops::layer_norm.
class LayerNorm : public Norm {
 public:
  struct Shape {
    int64_t dim;
    double eps;
    bool bias = true;
  };

  /// Takes `name`.weight [dim] and, with a bias, `name`.bias [dim] from the source.
  LayerNorm(const std::string& name, const Shape& shape, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "LayerNorm"; }
  Tensor forward(const Tensor& x_TD) const override;
  Kept kept() const override { return {dim(), 2}; }

  Tensor weight_in_use() const { return weight_D_.current(); }
  std::optional<Tensor> bias_in_use() const { return bias_D_ == nullptr ? std::nullopt : std::optional(bias_D_->current()); }

 private:
  BaseWeight& weight_D_;
  BaseWeight* bias_D_ = nullptr;
  double eps_;
};

}  // namespace lora::nn
