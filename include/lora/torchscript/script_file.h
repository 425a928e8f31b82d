#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace lora::torchscript {

/// A weight under the name that adapters use, and the slot of the module that holds it. In a module traced with tied weights two names
/// share a slot.
struct HostWeight {
  std::string name;  ///< "model.layers.0.self_attn.q_proj.weight"
  std::string slot;
  std::vector<int64_t> shape;
  std::string kind;           ///< the kind of its host
  bool inputs_first = false;  ///< stored as [in, out]
  bool is_adaptable = true;   ///< whether a pair can be attached to its host
  std::string note;           ///< why not, or which operations use it
};

/// A TorchScript file for merging and inspection: its weights by their hosts' names, which can be replaced and saved with the same code.
class ScriptFile {
 public:
  /// Loads the file, in a child process first. Throws config Error without `trusted`, and what loading throws.
  ScriptFile(const std::filesystem::path& file, bool trusted);
  ~ScriptFile();

  /// Every weight that forward() reads, host by host.
  const std::vector<HostWeight>& weights() const { return weights_; }
  /// The names of forward()'s arguments.
  const std::vector<std::string>& arguments() const { return arguments_; }
  const std::string& fingerprint() const { return fingerprint_; }
  at::Tensor tensor(const std::string& slot) const;
  /// Puts a new tensor into the slot; other slots that shared its memory keep the old one.
  void set(const std::string& slot, const at::Tensor& tensor);
  /// Writes the module; the file appears complete or not at all. Throws output Error.
  void save(const std::filesystem::path& file) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::vector<HostWeight> weights_;
  std::vector<std::string> arguments_;
  std::string fingerprint_;
};

}  // namespace lora::torchscript
