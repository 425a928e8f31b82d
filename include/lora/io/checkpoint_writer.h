#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lora/base/file.h"

namespace lora::io {

using at::Tensor;

/// A tensor to be written whose values are made piece by piece when their turn comes, so that a model larger than the
/// memory can be written.
struct TensorStream {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  /// Calls `append` with the values in their order, in tensors of `dtype` on the CPU, of any shapes.
  std::function<void(const std::function<void(const Tensor& piece)>& append)> produce;
};

/// Writes the weights of a Hugging Face folder under the names that transformers gives: `model.safetensors`, or where that
/// would exceed `max_shard_size` bytes, `model-00001-of-0000N.safetensors` …, filled in the order given, with
/// `model.safetensors.index.json`. A tensor larger than that gets a shard of its own. Throws output Error, and what
/// producing throws.
void write_checkpoint(const fs::path& folder, const std::vector<TensorStream>& tensors, int64_t max_shard_size);

}  // namespace lora::io
