#include "torchscript/row_keys.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/random.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

/// For each row, the token whose key it has, and its number among the rows of that token.
struct RowNumbers {
  Tensor token;
  Tensor number;
};

RowNumbers rows_of(const Tensor& token, const Tensor& number) {
  const std::vector<Tensor> both = at::broadcast_tensors({token, number});
  return {both[0].reshape({-1}), both[1].reshape({-1}).contiguous()};
}

}  // namespace

RowOrder row_order(const Tensor& x, int64_t num_documents, int64_t length, bool documents_second) {
  const auto size = [&x](int64_t i) { return i + 1 < x.dim() ? x.size(i) : -1; };
  if (documents_second && size(1) == num_documents) {
    return size(0) == length ? RowOrder::kLengthFirst : RowOrder::kPlacesFirst;
  }
  const bool has_heads = x.dim() == 3 && num_documents > 0 && size(0) > num_documents && size(0) % num_documents == 0;
  if ((x.dim() == 4 && size(0) == num_documents && size(2) == length) || (has_heads && size(1) == length && size(0) != length)) {
    return RowOrder::kAttention;
  }
  if ((size(0) == num_documents && size(1) == length) || (x.dim() == 2 && size(0) == num_documents * length)) {
    return RowOrder::kDocumentFirst;
  }
  return size(0) == length && size(1) == num_documents ? RowOrder::kLengthFirst : RowOrder::kOther;
}

std::set<int64_t> find_documents_second(const CallSizes& a, int64_t documents_of_a, const CallSizes& b, int64_t documents_of_b) {
  std::set<int64_t> found;
  for (const auto& [call, sizes_of_a] : a) {
    const auto other = b.find(call);
    if (other == b.end() || sizes_of_a.size() < 2 || other->second.size() != sizes_of_a.size()) {
      continue;
    }
    const std::vector<int64_t>& sizes_of_b = other->second;
    const bool first_follows = sizes_of_a[0] * documents_of_b == sizes_of_b[0] * documents_of_a;
    if (!first_follows && sizes_of_a[1] == documents_of_a && sizes_of_b[1] == documents_of_b) {
      found.insert(call);
    }
  }
  return found;
}

Tensor RowKeys::of(const Tensor& x, bool documents_second) {
  const RowOrder order = row_order(x, num_documents_, length_, documents_second);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.pop_back();
  Tensor& made = made_[{order, std::move(sizes)}];
  if (!made.defined()) {
    made = make(x, order);
  }
  return made;
}

Tensor RowKeys::make(const Tensor& x, RowOrder order) const {
  const int64_t num_rows = x.numel() / std::max<int64_t>(x.size(-1), 1), num_tokens = num_documents_ * length_;
  const Tensor token_DL = at::arange(num_tokens, at::kLong).view({num_documents_, length_});
  const auto numbers = [&](int64_t count) { return at::arange(count, at::kLong); };
  RowNumbers rows;
  if (order == RowOrder::kAttention) {
    rows = rows_of(token_DL.unsqueeze(1), numbers(num_rows / num_tokens).unsqueeze(1));
  } else if (order == RowOrder::kPlacesFirst) {
    const int64_t places = x.size(0);
    rows = rows_of(token_DL.slice(1, 0, 1), numbers(num_rows / num_documents_).view({places, 1, -1}));
  } else if (order == RowOrder::kOther) {
    const int64_t samples = num_documents_ > 0 && num_rows % num_documents_ == 0 ? num_documents_ : 1;
    rows = rows_of(token_DL.slice(1, 0, 1).slice(0, 0, samples), numbers(num_rows / samples));
  } else {
    const Tensor token = order == RowOrder::kLengthFirst ? token_DL.t() : token_DL;
    rows = rows_of(token.unsqueeze(2), numbers(num_rows / num_tokens));
  }
  if (num_rows == num_tokens && order != RowOrder::kOther && order != RowOrder::kPlacesFirst) {
    return keys_.index_select(0, rows.token.to(keys_.device()));
  }
  const Tensor keys = keys_.cpu().index_select(0, rows.token);
  int64_t* key = keys.data_ptr<int64_t>();
  const int64_t* number = rows.number.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < num_rows; ++i) {
    key[i] = static_cast<int64_t>(mix64(static_cast<uint64_t>(key[i]), static_cast<uint64_t>(number[i])));
  }
  return keys.to(keys_.device());
}

}  // namespace lora::torchscript
