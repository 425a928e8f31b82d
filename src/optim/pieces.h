#pragma once
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/ops/parallel.h"
#include "optim/groups.h"
#include "optim/kernels.h"

namespace lora::optim {

/// Elements that one thread takes at once: 0.5 MB of float32 in AdamW, which a second-level cache holds. Whole blocks of
/// 8-bit moments.
inline constexpr int64_t kPieceSize = 32'768;
static_assert(kPieceSize % kQuantizationBlock == 0);

/// Elements of one of several tensors, side by side in memory.
struct Piece {
  size_t tensor;
  int64_t begin;
  int64_t count;
};

/// The tensors cut into pieces, in order. It depends on their sizes alone, never on the number of threads.
std::vector<Piece> pieces_of(const std::vector<at::Tensor>& tensors);

/// The piece's first element in the tensor of `tensors` that it is of.
template <typename Scalar>
Scalar* data_at(const std::vector<at::Tensor>& tensors, const Piece& piece) {
  return tensors[piece.tensor].mutable_data_ptr<Scalar>() + piece.begin;
}

/// visit(index) for each piece, in parallel where there is enough to do.
template <typename Visit>
void for_each_piece(const std::vector<Piece>& pieces, const Visit& visit) {
  int64_t elements = 0;
  for (const Piece& piece : pieces) {
    elements += piece.count;
  }
  const auto size = static_cast<int64_t>(pieces.size());
  ops::parallel_for(0, size, elements <= kPieceSize ? size : 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      visit(static_cast<size_t>(i));
    }
  });
}

/// One pass over a group in CPU memory: visit(piece, parameter, gradient) with pointers to the piece's first elements.
/// A loop over the tensors, not one flat buffer: autograd hands over each gradient in memory of its own, so that gathering
/// them would be the second pass that a flat buffer is there to save.
template <typename Visit>
void update_pieces(const Updates& updates, const Visit& visit) {
  const std::vector<Piece> pieces = pieces_of(updates.parameters);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, updates.parameters.front().scalar_type(), "optimizer", [&] {
    for_each_piece(pieces, [&](size_t index) {
      const Piece& piece = pieces[index];
      visit(piece, data_at<scalar_t>(updates.parameters, piece), updates.gradients[piece.tensor].const_data_ptr<scalar_t>() + piece.begin);
    });
  });
  mark_changed(updates.parameters);
}

}  // namespace lora::optim
