#pragma once
#include <ATen/core/Tensor.h>

#include <deque>
#include <string>
#include <vector>

#include "lora/nn/base_weight.h"
#include "lora/nn/parameter.h"

namespace lora::nn {

/// A module that adapters can be attached to. It owns its base weights and whatever is attached; its name is the
/// module's in transformers, so that PEFT's target_modules mean here what they mean there. The list of kinds is open.
class Host {
 public:
  explicit Host(std::string name) : name_(std::move(name)) {}
  virtual ~Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& name() const { return name_; }
  /// What it is called in PEFT's terms: "Linear", …
  virtual const char* kind() const = 0;
  /// Whether PEFT's all-linear means it, although no pair can be attached.
  virtual bool counts_as_linear() const { return false; }
  /// Whether modules_to_save can mean it: its weights are those that PEFT would save.
  virtual bool can_be_saved() const { return true; }
  /// Whether the sizes of its tensors depend on values that a pass computes. Such a pass waits for the device and cannot be recorded.
  virtual bool has_data_dependent_sizes() const { return false; }
  /// Its weights; a tied head's too, which belongs to the embedding.
  const std::deque<BaseWeight>& weights() const { return weights_; }
  std::deque<BaseWeight>& weights() { return weights_; }
  /// Whether anything in use is trained.
  virtual bool is_trained() const;
  /// Its own weights under their names in the checkpoint; the tensors are the module's, not copies.
  std::vector<Parameter> base_parameters() const;

  /// Of everything that is attached, puts this adapter in use and no other; "": none.
  virtual void use_adapter(const std::string& adapter);
  /// Takes everything off that is attached.
  virtual void remove_adapters();

 protected:
  /// Adds `name`.`part`. The reference stays valid.
  BaseWeight& add_weight(const std::string& part, Tensor tensor, bool weight_decay, bool owned = true);

 private:
  std::string name_;
  std::deque<BaseWeight> weights_;
};

}  // namespace lora::nn
