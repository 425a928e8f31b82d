#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lora/base/file.h"

namespace lora::io {

using at::Tensor;

/// A tensor to write whose values are computed piece by piece while it is written, so that a model larger than memory can be
/// written.
struct TensorStream {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  /// Calls `append` with the values in order, as CPU tensors of `dtype` with any shape.
  std::function<void(const std::function<void(const Tensor& piece)>& append)> produce;
};

/// Writes the weights of a Hugging Face folder under transformers' file names: `model.safetensors` or, if that would exceed
/// `max_shard_size` bytes, the shards `model-00001-of-0000N.safetensors` …, filled in the given order, and
/// `model.safetensors.index.json`. A tensor larger than `max_shard_size` gets its own shard. Throws output Error, and whatever
/// `produce` throws.
/// @param stem in place of "model"; diffusers' components have "diffusion_pytorch_model".
void write_checkpoint(const fs::path& folder, const std::vector<TensorStream>& tensors, int64_t max_shard_size,
                      const std::string& stem = "model");

/// Writes them into one safetensors file, which replaces another one when it is complete. Throws as write_checkpoint does.
void write_checkpoint_file(const fs::path& file, const std::vector<TensorStream>& tensors,
                           const std::map<std::string, std::string>& metadata);

}  // namespace lora::io
