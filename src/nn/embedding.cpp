#include "lora/nn/embedding.h"

#include <ATen/ATen.h>

namespace lora::nn {

Embedding::Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options)
    : Host(name), weight_VD_(source.get(name + ".weight", {num, dim}, io::WeightRole::kEmbedding).to(options)) {}

Tensor Embedding::forward(const Tensor& ids_T) const {
  return at::embedding(weight_VD_, ids_T);
}

}  // namespace lora::nn
