#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

namespace lora::torchscript {

/// How the rows [..., C] of a tensor of the network stand to the D documents of L places that its inputs were. Told by sizes: where two
/// of them are one, the first order of the list is taken, but for tensors whose second size is known to be the documents'.
enum class RowOrder {
  kAttention,      ///< [D, H, L, C] or [D · H, L, C]
  kDocumentFirst,  ///< [D, L, ..., C] or [D · L, C]
  kLengthFirst,    ///< [L, D, ..., C]
  kPlacesFirst,    ///< [P, D, ..., C] of P patches or the like
  kOther,          ///< [D, ..., C] of patches, pooled rows
};

/// @param documents_second it is known that its second size is D.
RowOrder row_order(const at::Tensor& x, int64_t num_documents, int64_t length, bool documents_second);

/// The sizes of what each call of a host or dropout was given in a pass, but the last; by the call's number.
using CallSizes = std::map<int64_t, std::vector<int64_t>>;

/// The calls whose tensors have the documents second, by passes of other numbers of documents (first, second).
std::set<int64_t> find_documents_second(const CallSizes& a, int64_t documents_of_a, const CallSizes& b, int64_t documents_of_b);

/// The keys of the rows of a network's tensors, made of those of its tokens: functions of (seed, step, sample, position and what comes
/// beside it), however long the other documents of a batch are. Rows of another order are counted from 0 in each sample.
class RowKeys {
 public:
  RowKeys() = default;
  /// @param keys int64 [D · L]; undefined: nothing is random.
  RowKeys(at::Tensor keys, int64_t num_documents, int64_t length)
      : keys_(std::move(keys)), num_documents_(num_documents), length_(length) {}

  bool defined() const { return keys_.defined(); }
  /// int64 [R] for x [..., C] of R rows.
  at::Tensor of(const at::Tensor& x, bool documents_second);

 private:
  at::Tensor make(const at::Tensor& x, RowOrder order) const;

  at::Tensor keys_;
  int64_t num_documents_ = 0;
  int64_t length_ = 0;
  std::map<std::pair<RowOrder, std::vector<int64_t>>, at::Tensor> made_;  ///< by the sizes of x but the last
};

}  // namespace lora::torchscript
