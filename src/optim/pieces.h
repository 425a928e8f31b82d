#pragma once
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/ops/parallel.h"
#include "optim/groups.h"
#include "optim/kernels.h"

namespace lora::optim {

/// Elements that one thread processes at once: 0.5 MB of float32 in AdamW, which fits into an L2 cache. A whole number of blocks of
/// 8-bit moments.
inline constexpr int64_t kPieceSize = 32'768;
static_assert(kPieceSize % kQuantizationBlock == 0);

/// Consecutive elements of one of several tensors.
struct TensorSlice {
  size_t tensor;
  int64_t begin;
  int64_t count;
};

/// The tensors cut into pieces, in order. The pieces depend only on the sizes, never on the number of threads.
std::vector<TensorSlice> pieces_of(const std::vector<at::Tensor>& tensors);

/// The address of the piece's first element, in its tensor of `tensors`.
template <typename Scalar>
Scalar* data_at(const std::vector<at::Tensor>& tensors, const TensorSlice& piece) {
  return tensors[piece.tensor].mutable_data_ptr<Scalar>() + piece.begin;
}

/// Calls visit(index) for each piece, in parallel if there is enough work.
template <typename Visit>
void for_each_piece(const std::vector<TensorSlice>& pieces, const Visit& visit) {
  int64_t elements = 0;
  for (const TensorSlice& piece : pieces) {
    elements += piece.count;
  }
  const auto size = static_cast<int64_t>(pieces.size());
  ops::parallel_for(0, size, elements <= kPieceSize ? size : 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      visit(static_cast<size_t>(i));
    }
  });
}

/// One pass over a group in CPU memory: calls visit(piece, parameter, gradient) with pointers to the piece's first elements. It loops
/// over the tensors instead of one flat buffer, because autograd returns each gradient in separate memory: gathering them would be the
/// second pass that a flat buffer is meant to save.
template <typename Visit>
void update_pieces(const Updates& updates, const Visit& visit) {
  const std::vector<TensorSlice> pieces = pieces_of(updates.parameters);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, updates.parameters.front().scalar_type(), "optimizer", [&] {
    for_each_piece(pieces, [&](size_t index) {
      const TensorSlice& piece = pieces[index];
      visit(piece, data_at<scalar_t>(updates.parameters, piece), updates.gradients[piece.tensor].const_data_ptr<scalar_t>() + piece.begin);
    });
  });
  mark_changed(updates.parameters);
}

}  // namespace lora::optim
