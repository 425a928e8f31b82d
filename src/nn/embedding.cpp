#include "lora/nn/embedding.h"

#include <ATen/ATen.h>

namespace lora::nn {

namespace {

/// The table in the dtype and on the device of `options`. A packed one is decoded to that dtype at once: a copy in a wider dtype would be
/// the most memory that loading takes.
Tensor table_of(io::WeightSource& source, const std::string& name, int64_t num, int64_t dim, const at::TensorOptions& options) {
  const io::StoredWeight stored = source.weight(name, {num, dim}, io::WeightRole::kEmbedding);
  if (stored.packed == nullptr) {
    return stored.tensor.to(options);
  }
  const auto dtype = at::typeMetaToScalarType(options.dtype());
  Tensor table = io::decoded(*stored.packed, dtype == at::kDouble ? stored.packed->value_dtype() : dtype).to(options);
  source.release(name);
  return table;
}

}  // namespace

Embedding::Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name, std::make_shared<const ops::DenseWeight>(
                           table_of(source, name + ".weight", num, dim, options), WeightLayout::kInOut)) {}

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
