#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lora/ops/attention.h"

namespace lora::nn {

using at::Tensor;

/// Documents with the N keys of a prefix before each. Queries get N rows before each document too, whose results are dropped: queries and
/// keys then are documents of one layout, which every kernel of attention takes. T tokens in D documents.
class PrefixedDocuments {
 public:
  PrefixedDocuments(const ops::DocumentLayout& own, int64_t length);

  /// Documents of N rows more each, T + D N in all.
  const ops::DocumentLayout& layout() const { return layout_; }
  /// The rows of `prefix_N` before each document's of `x_T`. Differentiable.
  Tensor with_prefix(const Tensor& prefix_N, const Tensor& x_T) const;
  /// The same with a prefix of its own for each document: prefix_DN [D, N, …].
  Tensor with_prefixes(const Tensor& prefix_DN, const Tensor& x_T) const;
  /// N rows of zeros before each document's. Differentiable.
  Tensor with_zeros(const Tensor& x_T) const;
  /// The places of some of the documents' own rows.
  Tensor places_of(const Tensor& rows_S) const { return own_T_.index_select(0, rows_S); }
  /// The documents' own rows.
  Tensor own(const Tensor& x) const { return x.index_select(0, own_T_); }

 private:
  std::vector<int64_t> sizes_of(const Tensor& x_T) const;

  ops::DocumentLayout layout_;
  int64_t documents_;
  Tensor own_T_;      ///< int64, where each token's row is
  Tensor places_DN_;  ///< int64, where the rows of each document's prefix are
};

}  // namespace lora::nn
