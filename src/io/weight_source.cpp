#include "lora/io/weight_source.h"

namespace lora::io {

Tensor plain(const StoredWeight& weight) {
  return weight.packed == nullptr ? weight.tensor : decoded(*weight.packed, weight.packed->value_dtype());
}

Tensor WeightSource::get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) {
  return plain(weight(name, shape, role));
}

}  // namespace lora::io
