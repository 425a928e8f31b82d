#pragma once
#include "lora/io/weight_source.h"
#include "lora/nn/matrix_host.h"

namespace lora::nn {

/// Rows of a table by token id, [T, D], plus what is attached; a pair's A is [R, V] and its B [D, R]. As in PEFT, attachments have no
/// dropout here.
class Embedding : public MatrixHost {
 public:
  /// Takes `name`.weight [num, dim] from the source.
  Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "Embedding"; }
  Tensor forward(const Tensor& ids_T) const;

  int64_t num_tokens() const { return matrix()->in_features(); }
  int64_t dim() const { return matrix()->out_features(); }
  /// The base's weight [V, D], whatever replaces it.
  Tensor weight() const { return base_weight().base(); }
};

}  // namespace lora::nn
