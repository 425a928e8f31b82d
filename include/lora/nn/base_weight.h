#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/nn/parameter.h"

namespace lora::nn {

using at::Tensor;

/// A weight of the base model, and the tensors that replace it while an adapter is in use: PEFT's modules_to_save and trained
/// biases. The base's own values never change, so that adapters can be switched and several can share one base.
class BaseWeight {
 public:
  /// @param owned false if the tensor belongs to another module: a tied head's.
  explicit BaseWeight(Parameter parameter, bool owned = true) : parameter_(std::move(parameter)), owned_(owned) {}

  /// Its name in the checkpoint, the base's tensor, and whether weight decay would apply to it.
  const Parameter& parameter() const { return parameter_; }
  const Tensor& base() const { return parameter_.tensor; }
  bool owned() const { return owned_; }

  /// The replacement that belongs to the adapter in use, or the base's tensor.
  const Tensor& in_use() const;
  /// The same in the base's dtype, which the module computes with.
  Tensor current() const;
  /// @param tensor of the base's shape, in its dtype or a wider one.
  void replace(const std::string& adapter, Tensor tensor) { stand_ins_.push_back({adapter, std::move(tensor), true}); }

  /// Makes this adapter's replacement the one in use; "": none.
  void use_adapter(const std::string& adapter);
  void remove_adapters() { stand_ins_.clear(); }

 private:
  struct StandIn {
    std::string adapter;
    Tensor tensor;
    bool enabled;
  };

  Parameter parameter_;
  bool owned_;
  std::vector<StandIn> stand_ins_;
};

}  // namespace lora::nn
