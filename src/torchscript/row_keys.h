#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

namespace lora::torchscript {

/// How the rows [..., C] of a tensor of the network stand to the D documents of L places that its inputs were. Told by sizes: where two
/// of them are one, the first order of the list is taken.
enum class RowOrder {
  kAttention,      ///< [D, H, L, C] or [D · H, L, C]
  kDocumentFirst,  ///< [D, L, ..., C] or [D · L, C]
  kLengthFirst,    ///< [L, D, ..., C]
  kOther,          ///< patches, pooled rows
};

RowOrder row_order(const at::Tensor& x, int64_t num_documents, int64_t length);

/// The keys of the rows of a network's tensors, made of those of its tokens: functions of (seed, step, sample, position and what comes
/// beside it), however long the other documents of a batch are. Rows of another order are counted from 0 in each sample.
class RowKeys {
 public:
  RowKeys() = default;
  /// @param keys int64 [D · L]; undefined: nothing is random.
  RowKeys(at::Tensor keys, int64_t num_documents, int64_t length)
      : keys_(std::move(keys)), num_documents_(num_documents), length_(length) {}

  bool defined() const { return keys_.defined(); }
  /// int64 [R] for x [R rows, C].
  at::Tensor of(const at::Tensor& x);

 private:
  at::Tensor make(const at::Tensor& x) const;

  at::Tensor keys_;
  int64_t num_documents_ = 0;
  int64_t length_ = 0;
  std::map<std::vector<int64_t>, at::Tensor> made_;  ///< by the sizes of x but the last
};

}  // namespace lora::torchscript
