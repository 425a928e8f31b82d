#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/file.h"

namespace lora::io {

using at::Tensor;

/// What a base weight is, which decides how it starts when there is no file (transformers' _init_weights).
enum class WeightRole {
  kLinear,      ///< N(0, initializer_range)
  kEmbedding,   ///< N(0, initializer_range)
  kNorm,        ///< ones
  kNormOffset,  ///< zeros: a norm that multiplies by 1 + w
  kBias,        ///< zeros
};

/// Where a model family takes its weights from: a file, or random numbers.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The tensor of that name, on the CPU in the source's dtype. Throws model Error naming the tensor if it is missing
  /// or its shape is not `shape`.
  virtual Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) = 0;
  virtual bool contains(const std::string& name) const = 0;
  /// Names in the source that nobody asked for, sorted.
  virtual std::vector<std::string> unused() const = 0;
};

/// The weights of a Hugging Face folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. Shard
/// names cannot leave the folder (no '/', no '..'); a shard that is a symbolic link is followed (the hub cache is made
/// of them). Throws model Error for a folder without safetensors; one with pytorch_model.bin alone says how to convert.
/// Weights that are not plain floating-point numbers (quantised ones) are a model Error.
class CheckpointSource : public WeightSource {
 public:
  explicit CheckpointSource(const fs::path& folder);
  ~CheckpointSource() override;

  Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override;
  std::vector<std::string> unused() const override;
  /// The dtype of the first floating-point tensor by name, or float32 where there is none (transformers' "auto").
  at::ScalarType stored_dtype() const;
  /// Every tensor by its name, in the order of the files: read so, each file is read from its beginning to its end.
  std::vector<std::string> names() const;
  /// The tensor as it is stored, whatever its shape and dtype. Throws model Error if there is none of that name.
  Tensor tensor(const std::string& name) const;
  /// See SafetensorsFile::release.
  void release(const std::string& name) const;
  /// What tells these weights from others: SHA-256 (hex) of every tensor's name, dtype, shape, first and last 4 KiB, by
  /// name. It is the same however the tensors are spread over files, and costs no reading of all of them.
  std::string fingerprint() const;
  /// Every file the weights come from (for hashes).
  std::vector<fs::path> files() const;
  /// Tensors that the index names and no file holds, sorted: an error only for a model that needs them.
  std::vector<std::string> absent() const;
  /// Tensors that the index's files hold and the index does not name, sorted: they count too.
  std::vector<std::string> unlisted() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A checkpoint whose tensors have other names than the model's.
class RenamedSource : public WeightSource {
 public:
  /// @param model_name the model's name of a tensor, by its name in the file.
  RenamedSource(CheckpointSource& checkpoint, const std::function<std::string(const std::string&)>& model_name);

  Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override { return checkpoint_.contains(file_name(name)); }
  /// By their names in the file.
  std::vector<std::string> unused() const override { return checkpoint_.unused(); }
  /// Of those whose names differ, the file's by the model's.
  const std::map<std::string, std::string>& file_names() const { return file_names_; }

 private:
  const std::string& file_name(const std::string& name) const;

  CheckpointSource& checkpoint_;
  std::map<std::string, std::string> file_names_;
};

/// Random float32 weights, each a pure function of (seed, name).
class RandomSource : public WeightSource {
 public:
  RandomSource(uint64_t seed, double initializer_range) : seed_(seed), initializer_range_(initializer_range) {}

  Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override { return true; }
  std::vector<std::string> unused() const override { return {}; }

 private:
  uint64_t seed_;
  double initializer_range_;
};

/// `org/name` → its newest snapshot folder in the local Hugging Face cache `hub` (…/hub/models--org--name/snapshots/<commit
/// of refs/main>), or an empty path.
fs::path find_in_hub_cache(const fs::path& hub, const std::string& repository);

}  // namespace lora::io
