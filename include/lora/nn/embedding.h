#pragma once
#include "lora/io/weight_source.h"
#include "lora/nn/host.h"

namespace lora::nn {

/// Rows of a table by token id. A host kind of its own; no method attaches to it yet.
class Embedding : public Host {
 public:
  /// Takes `name`.weight [num, dim] from the source.
  Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "Embedding"; }
  std::vector<Parameter> base_parameters() const override { return {{name() + ".weight", weight_VD_, true}}; }
  Tensor forward(const Tensor& ids_T) const;
  const Tensor& weight() const { return weight_VD_; }

 private:
  Tensor weight_VD_;
};

}  // namespace lora::nn
