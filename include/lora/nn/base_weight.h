#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/ops/linear_weight.h"

namespace lora::nn {

using at::Tensor;

/// A weight of the base model, and the tensors that replace it while an adapter is in use: PEFT's modules_to_save and trained
/// biases. The base's own values never change, so that adapters can be switched and several can share one base.
class BaseWeight {
 public:
  /// @param owned false if the tensor belongs to another module: a tied head's.
  explicit BaseWeight(Parameter parameter, bool owned = true) : parameter_(std::move(parameter)), owned_(owned) {}
  /// A matrix that projections multiply by, of any kind. Weight decay would apply to it.
  BaseWeight(std::string name, std::shared_ptr<const ops::LinearWeight> matrix, bool owned = true);

  /// Its name in the checkpoint, the base's tensor (undefined if it is quantised), and whether weight decay would apply to it.
  const Parameter& parameter() const { return parameter_; }
  /// Whether it is a matrix in a form that projections can multiply by, but whose numbers can neither be trained nor overwritten. It is
  /// no parameter of the model.
  bool is_quantised() const { return matrix_ != nullptr && !matrix_->tensor().defined(); }
  /// The base's values in the layout of its file; those of a quantised matrix are computed, all of them.
  Tensor base() const;
  /// Some rows of base(), in this order.
  Tensor base_rows(const std::vector<int64_t>& rows) const;
  /// The shape of base().
  std::vector<int64_t> shape() const;
  at::ScalarType dtype() const { return matrix_ == nullptr ? parameter_.tensor.scalar_type() : matrix_->dtype(); }
  at::Device device() const { return matrix_ == nullptr ? parameter_.tensor.device() : matrix_->device(); }
  /// Bytes that the base's values occupy in memory.
  int64_t bytes() const;
  bool owned() const { return owned_; }
  /// Whether both are the same values in memory, as those of tied modules.
  bool shares_values_with(const BaseWeight& other) const;

  /// The replacement that belongs to the adapter in use, or the base's tensor.
  const Tensor& in_use() const;
  /// The same in the base's dtype, which the module computes with.
  Tensor current() const;
  /// The base's values as a projection's weight, whatever replaces them; null for a weight that is none.
  const std::shared_ptr<const ops::LinearWeight>& matrix() const { return matrix_; }
  /// What a projection multiplies by; a replacement is dense. It is the same object as long as the same tensor is in use.
  std::shared_ptr<const ops::LinearWeight> matrix_in_use() const;
  /// @param tensor of the base's shape and layout, in its dtype or a wider one.
  void replace(const std::string& adapter, Tensor tensor);
  /// @param matrix of the base's shape and dtype, in any form; only for a matrix.
  void replace(const std::string& adapter, std::shared_ptr<const ops::LinearWeight> matrix);

  /// Makes this adapter's replacement the one in use; "": none.
  void use_adapter(const std::string& adapter);
  /// The adapter whose replacement is in use; "": none.
  std::string adapter_in_use() const;
  void remove_adapters() { stand_ins_.clear(); }

 private:
  struct StandIn {
    std::string adapter;
    Tensor tensor;                                    ///< undefined: a matrix that is no tensor
    std::shared_ptr<const ops::LinearWeight> matrix;  ///< null: not a matrix, or in a wider dtype than the base
    bool enabled;
  };
  const StandIn* stand_in() const;

  Parameter parameter_;
  bool owned_;
  std::shared_ptr<const ops::LinearWeight> matrix_;
  std::vector<StandIn> stand_ins_;
};

}  // namespace lora::nn
