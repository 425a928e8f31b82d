#pragma once
#include <ATen/core/Tensor.h>

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

/// Its numbers; those of a packed matrix are decoded to value_dtype().
Tensor plain(const StoredWeight& weight);

/// Where a model family takes its weights from: files or random numbers.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The weight of that name, on the CPU in the source's dtype. Throws model Error with the tensor's name if it is missing or
  /// has another shape than `shape`, which is that of the family's plain tensor: [in, out] for a Conv1D, also where the packed matrix
  /// of it is [out, in] as always.
  virtual StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) = 0;
  /// The same where only a plain tensor will do: norms, biases, tables. A packed matrix is decoded.
  virtual Tensor get(const std::string& name, const std::vector<int64_t>& shape, WeightRole role);
  virtual bool contains(const std::string& name) const = 0;
  /// Names in the source that weight() was not called for, sorted.
  virtual std::vector<std::string> unused() const = 0;
  /// Drops the pages of the weight's file from memory until it is read again, if it has a file.
  virtual void release(const std::string&) const {}
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
