#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/weight_source.h"

namespace lora::io {

class SafetensorsFile;

/// What a checkpoint says of a tensor before its numbers are read.
struct TensorFacts {
  std::vector<int64_t> shape;  ///< of its numbers, in the layout in which the family stores them plain
  std::string stored_as;       ///< its dtype by the file's name ("BF16"), or the format of a packed matrix ("nf4")
  at::ScalarType dtype;        ///< of Checkpoint::tensor(); Undefined for a dtype that torch does not have
  int64_t bytes = 0;           ///< in the files
  bool is_packed = false;
};

/// The tensors of a base model on disk, under the names that transformers gives them: `X.weight` is one tensor, however many parts the
/// files store it in. Everything above asks this interface only. Its kinds are a folder of safetensors, that folder with packed
/// weights (quantization/packed_checkpoint.h), and other containers. models::open_checkpoint chooses. Every function that takes a name
/// throws model Error if there is no tensor of that name.
class Checkpoint : public WeightSource {
 public:
  /// Names of all tensors in the order of the files, so that each file is read sequentially.
  virtual std::vector<std::string> names() const = 0;
  virtual TensorFacts facts(const std::string& name) const = 0;
  /// The tensor as it is stored: plain with any shape and dtype, or packed [out, in].
  virtual StoredWeight stored(const std::string& name) const = 0;
  /// The tensor in facts().shape and facts().dtype: a packed one is decoded.
  virtual Tensor tensor(const std::string& name) const;
  /// Drops the tensor's pages from memory until it is read again.
  void release(const std::string& name) const override = 0;
  /// Identifies these weights: a SHA-256 (hex) over what the files store.
  virtual std::string fingerprint() const = 0;
  /// All files that the weights come from (for hashes).
  virtual std::vector<fs::path> files() const = 0;
  /// Anything unusual, one line each.
  virtual std::vector<std::string> notes() const { return {}; }

  /// stored(), if its shape is facts().shape and its numbers are floating-point or packed. Throws model Error otherwise.
  StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  std::vector<std::string> unused() const override;
  /// The dtype of the first plain floating-point tensor by name; if there is none, of the first packed one's values; else float32
  /// (transformers' "auto").
  at::ScalarType stored_dtype() const;
  /// The folder or file, for messages.
  const fs::path& path() const { return path_; }

 protected:
  explicit Checkpoint(fs::path path) : path_(std::move(path)) {}
  /// Adds a tensor to a fingerprint: what is said of it, and its first and last 4 KiB.
  static void add_to_fingerprint(Sha256& digest, const std::string& facts, const Tensor& tensor);
  /// stored() for weight(). A checkpoint that decodes tables of embeddings gives them packed here, so that they are decoded to the dtype
  /// of the model at once.
  virtual StoredWeight stored_for(const std::string& name, WeightRole) const { return stored(name); }
  /// "path: tensor 'name'".
  std::string where(const std::string& name) const;
  /// Throws that there is no tensor of that name, and suggests the nearest.
  [[noreturn]] void no_such_tensor(const std::string& name) const;

 private:
  fs::path path_;
  std::unordered_set<std::string> asked_;
};

/// The names of a folder's weight files: one file, or the index of several; empty: there is none of this kind.
struct WeightFileNames {
  std::string single = "model.safetensors";
  std::string index = "model.safetensors.index.json";
};

/// The weights of a Hugging Face folder as the files store them: `model.safetensors`, or the shards of `model.safetensors.index.json`.
/// Shard names cannot leave the folder (no '/', no '..'); a shard that is a symbolic link is followed, because the hub cache consists
/// of links. Throws model Error for a folder without safetensors (for pytorch_model.bin, with the command that converts it).
class SafetensorsCheckpoint : public Checkpoint {
 public:
  explicit SafetensorsCheckpoint(const fs::path& folder, const WeightFileNames& names = {});
  ~SafetensorsCheckpoint() override;

  bool contains(const std::string& name) const override;
  std::vector<std::string> names() const override;
  TensorFacts facts(const std::string& name) const override;
  StoredWeight stored(const std::string& name) const override;
  void release(const std::string& name) const override;
  /// The SHA-256 (hex) of every tensor's name, dtype, shape, and first and last 4 KiB, by name. It does not depend on how the tensors
  /// are split into files, and does not need to read all of their bytes.
  std::string fingerprint() const override;
  std::vector<fs::path> files() const override;
  /// Names the tensors that only the index or only its files have.
  std::vector<std::string> notes() const override;
  /// Tensors that the index lists but no file holds, sorted: an error only for a model that needs them.
  std::vector<std::string> absent() const;
  /// Tensors that the index's files hold but the index does not list, sorted: they are used too.
  std::vector<std::string> unlisted() const;

 private:
  struct Impl;
  const SafetensorsFile& shard(const std::string& name) const;
  std::unique_ptr<Impl> impl_;
};

/// A checkpoint in which tensors have other names than in the model.
class RenamedSource : public WeightSource {
 public:
  /// @param model_name from a tensor's name in the file to its name in the model.
  RenamedSource(Checkpoint& checkpoint, const std::function<std::string(const std::string&)>& model_name);

  StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) override;
  bool contains(const std::string& name) const override { return checkpoint_.contains(file_name(name)); }
  /// Under their names in the file.
  std::vector<std::string> unused() const override { return checkpoint_.unused(); }
  void release(const std::string& name) const override { checkpoint_.release(file_name(name)); }
  /// From the name in the model to the name in the file, for tensors whose names differ.
  const std::map<std::string, std::string>& file_names() const { return file_names_; }

 private:
  const std::string& file_name(const std::string& name) const;

  Checkpoint& checkpoint_;
  std::map<std::string, std::string> file_names_;
};

/// The same checkpoint with every packed matrix decoded when it is asked for, so that all weights are plain. Its fingerprint and files
/// are those of `checkpoint`.
std::unique_ptr<Checkpoint> decoded_checkpoint(std::unique_ptr<Checkpoint> checkpoint);

}  // namespace lora::io
