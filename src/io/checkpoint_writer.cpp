#include "lora/io/checkpoint_writer.h"

#include <ATen/ATen.h>

#include <array>
#include <cstdio>

#include "io/torch_dtype.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/io/safetensors.h"

namespace lora::io {

namespace {

int64_t elements_of(const TensorStream& tensor) {
  return c10::multiply_integers(tensor.shape);
}

int64_t stream_bytes(const TensorStream& tensor) {
  return elements_of(tensor) * static_cast<int64_t>(c10::elementSize(tensor.dtype));
}

/// The tensors of one file.
using Shard = std::vector<const TensorStream*>;

std::vector<Shard> split_into_shards(const std::vector<TensorStream>& tensors, int64_t max_shard_size) {
  std::vector<Shard> shards(1);
  int64_t used = 0;
  for (const TensorStream& tensor : tensors) {
    const int64_t size = stream_bytes(tensor);
    if (used + size > max_shard_size && !shards.back().empty()) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(&tensor);
    used += size;
  }
  return shards;
}

std::string shard_name(const std::string& stem, size_t index, size_t count) {
  if (count == 1) {
    return stem + ".safetensors";
  }
  std::array<char, 64> place{};
  std::snprintf(place.data(), place.size(), "-%05zu-of-%05zu.safetensors", index + 1, count);
  return stem + place.data();
}

TensorWriter writer_of(const TensorStream& tensor, const fs::path& file) {
  const std::optional<Dtype> dtype = file_dtype(tensor.dtype);
  if (!dtype) {
    output_error(file.string(), "cannot hold tensor '" + printable(tensor.name) + "': found dtype " + dtype_name(tensor.dtype) +
                                    ", expected one of " + join(kDtypes.names()));
  }
  const auto produce = [&tensor](const Append& append) {
    tensor.produce([&append](const Tensor& piece) {
      const Tensor flat = piece.contiguous();
      append(flat.const_data_ptr(), flat.nbytes());
    });
  };
  return {tensor.name, *dtype, tensor.shape, produce};
}

void write_shard(const fs::path& file, const Shard& shard, const std::map<std::string, std::string>& metadata) {
  std::vector<TensorWriter> writers;
  for (const TensorStream* tensor : shard) {
    writers.push_back(writer_of(*tensor, file));
  }
  write_safetensors(file, std::move(writers), metadata);
}

/// The index as transformers writes it, with sorted keys and an indent of 2.
std::string index_text(const std::vector<Shard>& shards, const std::string& stem) {
  nlohmann::json weight_map = nlohmann::json::object();
  int64_t parameters = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorStream* tensor : shards[i]) {
      weight_map[tensor->name] = shard_name(stem, i, shards.size());
      parameters += elements_of(*tensor);
      bytes += stream_bytes(*tensor);
    }
  }
  const nlohmann::json index{{"metadata", {{"total_parameters", parameters}, {"total_size", bytes}}}, {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

}  // namespace

void write_checkpoint(const fs::path& folder, const std::vector<TensorStream>& tensors, int64_t max_shard_size, const std::string& stem) {
  const std::vector<Shard> shards = split_into_shards(tensors, max_shard_size);
  for (size_t i = 0; i < shards.size(); ++i) {
    write_shard(folder / shard_name(stem, i, shards.size()), shards[i], {{"format", "pt"}});
  }
  if (shards.size() > 1) {
    write_file_atomically(folder / (stem + ".safetensors.index.json"), index_text(shards, stem));
  }
}

void write_checkpoint_file(const fs::path& file, const std::vector<TensorStream>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  Shard all;
  for (const TensorStream& tensor : tensors) {
    all.push_back(&tensor);
  }
  write_shard(file, all, metadata);
}

}  // namespace lora::io
