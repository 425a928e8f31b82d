#include "lora/nn/embedding.h"

#include <ATen/ATen.h>

namespace lora::nn {

Embedding::Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name, std::make_shared<const ops::DenseWeight>(
                           source.get(name + ".weight", {num, dim}, io::WeightRole::kEmbedding).to(options), WeightLayout::kInOut)) {}

Tensor Embedding::forward(const Tensor& ids_T) const {
  Tensor x_TD = at::embedding(base_weight().current(), ids_T);
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      x_TD = attachment->look_up({ids_T, matrix_in_use()}, x_TD);
    }
  }
  return x_TD;
}

}  // namespace lora::nn
