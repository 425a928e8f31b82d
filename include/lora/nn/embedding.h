#pragma once
#include "lora/io/weight_source.h"
#include "lora/nn/matrix_host.h"

namespace lora::nn {

/// Rows of a table by token id, [T, D], plus the low-rank attachments, whose A is [R, V] and B [D, R]. As in PEFT, attachments
/// have no dropout here.
class Embedding : public MatrixHost {
 public:
  /// Takes `name`.weight [num, dim] from the source.
  Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "Embedding"; }
  Tensor forward(const Tensor& ids_T) const;

  int64_t num_tokens() const { return weight().size(0); }
  int64_t dim() const { return weight().size(1); }
  /// The base's weight, whatever replaces it.
  const Tensor& weight() const { return weight_VD_.base(); }

 private:
  BaseWeight& weight_VD_;
};

}  // namespace lora::nn
