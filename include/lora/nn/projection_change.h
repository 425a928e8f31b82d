#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/attachment.h"

namespace lora::nn {

/// What one adapter makes of one projection, in a method that is a formula over a few tensors: attached to a host (FormulaTerm), or
/// without a model, to merge. A formula is one of three kinds: a change of the weight (WeightDelta), of the input (InputTransform), or of
/// the output (OutputScale). T tokens, I inputs, O outputs.
class ProjectionChange {
 public:
  virtual ~ProjectionChange() = default;

  /// The trained tensors under their names in PEFT's file ("hada_w1_a"); not copies.
  virtual std::vector<io::NamedTensor> tensors() const = 0;
  /// The projection with this change, in the dtype of the input. @param y_TO as for Attachment::project().
  virtual Tensor project(const ProjectionCall& call, const Tensor& y_TO) const = 0;
  /// The weight [O, I] that gives the same result without this change, in float32 or wider.
  virtual Tensor merged_weight(const Tensor& W_OI) const = 0;
  /// The bias that goes with it.
  virtual Tensor merged_bias(const Tensor& b_O) const { return b_O; }
  virtual bool changes_bias() const { return false; }
  /// What a pass keeps per token until backward, besides the host's input.
  virtual Kept kept(int64_t out_features) const;
};

/// A change that is attached to a projection.
struct FormulaTerm : Attachment {
  FormulaTerm(std::string adapter, std::shared_ptr<const ProjectionChange> change)
      : Attachment(std::move(adapter)), change(std::move(change)) {}

  std::vector<Tensor> tensors() const override;
  Kept kept(int64_t out_features) const override { return change->kept(out_features); }
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override { return change->project(call, y_TO); }

  std::shared_ptr<const ProjectionChange> change;
};

}  // namespace lora::nn
