#include "nn/prefixed_documents.h"

#include <ATen/ATen.h>

namespace lora::nn {

/// All places are computed on the device from the offsets there, since a replayed graph gets other offsets.
PrefixedDocuments::PrefixedDocuments(const ops::DocumentLayout& own, int64_t length) : layout_(own), documents_(own.offsets.size(0) - 1) {
  const at::TensorOptions numbers = own.offsets.options().dtype(at::kLong);
  layout_.offsets = own.offsets + length * at::arange(documents_ + 1, own.offsets.options());
  for (int64_t d = 0; d <= documents_; ++d) {
    layout_.host_offsets[d] += d * length;
  }
  layout_.max_document += length;
  const Tensor token_T = at::arange(own.host_offsets.back(), numbers);
  const Tensor ends_D = own.offsets.slice(0, 1).to(at::kLong);
  const Tensor document_T = at::bucketize(token_T, ends_D, /*out_int32=*/false, /*right=*/true);
  own_T_ = token_T + (document_T + 1) * length;
  const Tensor begins_D = layout_.offsets.slice(0, 0, documents_).to(at::kLong);
  places_DN_ = (begins_D.unsqueeze(1) + at::arange(length, numbers)).flatten();
}

Tensor PrefixedDocuments::with_prefix(const Tensor& prefix_N, const Tensor& x_T) const {
  std::vector<int64_t> times(static_cast<size_t>(prefix_N.dim()) + 1, 1);
  times[0] = documents_;
  return with_prefixes(prefix_N.unsqueeze(0).repeat(times), x_T);
}

Tensor PrefixedDocuments::with_prefixes(const Tensor& prefix_DN, const Tensor& x_T) const {
  const Tensor rows = at::empty(sizes_of(x_T), x_T.options());
  return rows.index_copy_(0, at::cat({places_DN_, own_T_}), at::cat({prefix_DN.flatten(0, 1), x_T}));
}

Tensor PrefixedDocuments::with_zeros(const Tensor& x_T) const {
  return at::zeros(sizes_of(x_T), x_T.options()).index_copy_(0, own_T_, x_T);
}

std::vector<int64_t> PrefixedDocuments::sizes_of(const Tensor& x_T) const {
  std::vector<int64_t> sizes = x_T.sizes().vec();
  sizes[0] = layout_.host_offsets.back();
  return sizes;
}

}  // namespace lora::nn
