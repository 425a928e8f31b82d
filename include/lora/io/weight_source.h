#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/packed_matrix.h"

namespace lora::io {

using at::Tensor;

/// The kind of a base weight, which decides its initial values when there is no file (transformers' _init_weights).
enum class WeightRole {
  kLinear,      ///< N(0, initializer_range)
  kEmbedding,   ///< N(0, initializer_range)
  kNorm,        ///< ones
  kNormOffset,  ///< zeros, for a norm that multiplies by 1 + w
  kBias,        ///< zeros
};

/// A weight as its source stores it. nn makes an ops::LinearWeight of it where projections multiply by it.
struct StoredWeight {
  Tensor tensor;                                    ///< plain floating-point numbers; undefined for a packed matrix
  std::shared_ptr<const PackedMatrix> packed = {};  ///< null for plain numbers
};

/// Where a model family takes its weights from: files or random numbers.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The weight of that name, on the CPU in the source's dtype. Throws model Error with the tensor's name if it is missing or
  /// has another shape than `shape`, which is [out, in] for a packed matrix in any layout.
  virtual StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) = 0;
  /// The same where only a plain tensor will do: norms, biases, tables. A packed matrix is decoded.
  virtual Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role);
  virtual bool contains(const std::string& name) const = 0;
  /// Names in the source that weight() was not called for, sorted.
  virtual std::vector<std::string> unused() const = 0;
  /// Drops the pages of the weight's file from memory until it is read again, if it has a file.
  virtual void release(const std::string&) const {}
};

/// The weights of a Hugging Face folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. Shard
/// names cannot leave the folder (no '/', no '..'); a shard that is a symbolic link is followed, because the hub cache consists
/// of links. Throws model Error for a folder without safetensors (for pytorch_model.bin, with the command that converts it) and
/// for weights that are not plain floating-point numbers (quantised weights).
class CheckpointSource : public WeightSource {
 public:
  explicit CheckpointSource(const fs::path& folder);
  ~CheckpointSource() override;

  StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override;
  std::vector<std::string> unused() const override;
  /// The dtype of the first floating-point tensor by name, or float32 if there is none (transformers' "auto").
  at::ScalarType stored_dtype() const;
  /// Names of all tensors in the order of the files, so that each file is read sequentially.
  std::vector<std::string> names() const;
  /// The tensor as it is stored, with any shape and dtype. Throws model Error if there is none of that name.
  Tensor tensor(const std::string& name) const;
  /// See SafetensorsFile::release.
  void release(const std::string& name) const override;
  /// Identifies these weights: the SHA-256 (hex) of every tensor's name, dtype, shape, and first and last 4 KiB, by name. It does
  /// not depend on how the tensors are split into files, and does not need to read all of their bytes.
  std::string fingerprint() const;
  /// All files that the weights come from (for hashes).
  std::vector<fs::path> files() const;
  /// Tensors that the index lists but no file holds, sorted: an error only for a model that needs them.
  std::vector<std::string> absent() const;
  /// Tensors that the index's files hold but the index does not list, sorted: they are used too.
  std::vector<std::string> unlisted() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A checkpoint in which tensors have other names than in the model.
class RenamedSource : public WeightSource {
 public:
  /// @param model_name from a tensor's name in the file to its name in the model.
  RenamedSource(CheckpointSource& checkpoint, const std::function<std::string(const std::string&)>& model_name);

  StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override { return checkpoint_.contains(file_name(name)); }
  /// Under their names in the file.
  std::vector<std::string> unused() const override { return checkpoint_.unused(); }
  void release(const std::string& name) const override { checkpoint_.release(file_name(name)); }
  /// From the name in the model to the name in the file, for tensors whose names differ.
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

  StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override { return true; }
  std::vector<std::string> unused() const override { return {}; }

 private:
  uint64_t seed_;
  double initializer_range_;
};

/// The snapshot folder of the repository `org/name` in the local Hugging Face cache `hub` (…/hub/models--org--name/snapshots/<commit
/// of refs/main>; the newest if there is no refs/main), or an empty path.
fs::path find_in_hub_cache(const fs::path& hub, const std::string& repository);

}  // namespace lora::io
