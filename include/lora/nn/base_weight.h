#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/nn/parameter.h"

namespace lora::nn {

using at::Tensor;

/// A weight of the base, and the tensors that stand in for it while an adapter is in use: PEFT's modules_to_save and
/// trained biases. The base's own values stay as they are, so that adapters can be switched and the base shared.
class BaseWeight {
 public:
  /// @param owned false where the tensor belongs to another module: a tied head's.
  explicit BaseWeight(Parameter parameter, bool owned = true) : parameter_(std::move(parameter)), owned_(owned) {}

  /// Its name in the checkpoint, the tensor of the base, and whether it would be decayed.
  const Parameter& parameter() const { return parameter_; }
  const Tensor& base() const { return parameter_.tensor; }
  bool owned() const { return owned_; }

  /// The stand-in of the adapter in use, or the base.
  const Tensor& in_use() const;
  /// The same in the base's dtype: what the module computes with.
  Tensor current() const;
  /// @param tensor of the base's shape, of its dtype or a wider one.
  void replace(const std::string& adapter, Tensor tensor) { stand_ins_.push_back({adapter, std::move(tensor), true}); }

  /// Of all stand-ins, puts this adapter's in use; "": none.
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
