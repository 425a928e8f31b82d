#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "lora/base/random.h"
#include "lora/io/weight_source.h"

namespace lora::io {

StoredWeight RandomSource::weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) {
  const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat).device(at::kCPU);
  switch (role) {
    case WeightRole::kNorm:
      return {at::ones(shape, options)};
    case WeightRole::kNormOffset:
    case WeightRole::kBias:
      return {at::zeros(shape, options)};
    case WeightRole::kLinear:
    case WeightRole::kEmbedding:
      break;
  }
  const at::Generator generator = at::detail::createCPUGenerator(mix64(seed_, hash_name(name)));
  return {at::empty(shape, options).normal_(0.0, initializer_range_, generator)};
}

}  // namespace lora::io
