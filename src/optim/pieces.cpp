#include "optim/pieces.h"

#include <algorithm>

namespace lora::optim {

std::vector<TensorSlice> pieces_of(const std::vector<at::Tensor>& tensors) {
  std::vector<TensorSlice> pieces;
  for (size_t tensor = 0; tensor < tensors.size(); ++tensor) {
    const int64_t size = tensors[tensor].numel();
    for (int64_t begin = 0; begin < size; begin += kPieceSize) {
      pieces.push_back({tensor, begin, std::min(kPieceSize, size - begin)});
    }
  }
  return pieces;
}

}  // namespace lora::optim
