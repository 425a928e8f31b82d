#include "lora/nn/projection_change.h"

namespace lora::nn {

Kept ProjectionChange::kept(int64_t) const {
  return {};
}

std::vector<Tensor> FormulaTerm::tensors() const {
  std::vector<Tensor> all;
  for (const io::NamedTensor& named : change->tensors()) {
    all.push_back(named.tensor);
  }
  return all;
}

}  // namespace lora::nn
