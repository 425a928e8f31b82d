#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

namespace lora::torchscript {

/// How the rows of a tensor [..., C] of the network correspond to the D documents of L positions in its inputs. Determined from sizes: if
/// several orders fit, the first of the list is taken, except for tensors whose second size is known to be that of the documents.
enum class RowOrder {
  kAttention,      ///< [D, H, L, C] or [D · H, L, C]
  kDocumentFirst,  ///< [D, L, ..., C] or [D · L, C]
  kLengthFirst,    ///< [L, D, ..., C]
  kPlacesFirst,    ///< [P, D, ..., C] with P patches, for example
  kOther,          ///< [D, ..., C] with patches or pooled rows
};

/// @param documents_second whether the second size is known to be D.
RowOrder row_order(const at::Tensor& x, int64_t num_documents, int64_t length, bool documents_second);

/// The sizes of the input of each host or dropout in a pass, without the last size, by the call's number.
using CallSizes = std::map<int64_t, std::vector<int64_t>>;

/// The calls whose tensors have the documents second, found from two passes with different numbers of documents.
std::set<int64_t> find_documents_second(const CallSizes& a, int64_t documents_of_a, const CallSizes& b, int64_t documents_of_b);

/// The keys for the rows of a network's tensors, derived from the keys of its tokens: functions of (seed, step, sample, position, number
/// within the position) that do not depend on the lengths of other documents. Rows in another order are numbered from 0 in each sample.
class RowKeys {
 public:
  RowKeys() = default;
  /// @param keys int64 [D · L]; undefined if nothing is random.
  RowKeys(at::Tensor keys, int64_t num_documents, int64_t length)
      : keys_(std::move(keys)), num_documents_(num_documents), length_(length) {}

  bool defined() const { return keys_.defined(); }
  /// Keys, int64 [R], for x [..., C] with R rows.
  at::Tensor of(const at::Tensor& x, bool documents_second);

 private:
  at::Tensor make(const at::Tensor& x, RowOrder order) const;

  at::Tensor keys_;
  int64_t num_documents_ = 0;
  int64_t length_ = 0;
  std::map<std::pair<RowOrder, std::vector<int64_t>>, at::Tensor> made_;  ///< by the sizes of x without the last
};

}  // namespace lora::torchscript
