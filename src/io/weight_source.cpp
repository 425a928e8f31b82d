#include "lora/io/weight_source.h"

namespace lora::io {

Tensor WeightSource::get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) {
  const StoredWeight stored = weight(name, shape, role);
  return stored.packed == nullptr ? stored.tensor : decoded(*stored.packed, stored.packed->value_dtype());
}

}  // namespace lora::io
