#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/nn/parameter.h"

namespace lora::nn {

using at::Tensor;

/// A module that adapters can be attached to. It owns its base weight and whatever is attached; its name is the module's
/// in transformers, so that PEFT's target_modules mean here what they mean there. The list of kinds is open.
class Host {
 public:
  explicit Host(std::string name) : name_(std::move(name)) {}
  virtual ~Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& name() const { return name_; }
  /// What it is called in PEFT's terms: "Linear", …
  virtual const char* kind() const = 0;
  /// Its own weights under their names in the checkpoint; the tensors are the module's, not copies.
  virtual std::vector<Parameter> base_parameters() const = 0;

 private:
  std::string name_;
};

}  // namespace lora::nn
