#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/io/weight_source.h"
#include "lora/nn/matrix_host.h"
#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"
#include "lora/ops/lora_linear.h"

namespace lora::nn {

struct LinearShape {
  int64_t in_features;
  int64_t out_features;
  bool bias = false;
  WeightLayout layout = WeightLayout::kOutIn;
};

/// y_TO = x_TI Wᵀ + b, plus what is attached. The base weight has whatever form the source gives it (ops::LinearWeight).
class Linear : public MatrixHost {
 public:
  /// Takes `name`.weight [out, in] (or in the shape's layout) and, with a bias, `name`.bias [out] from the source, converted to
  /// the dtype and device of `options`.
  Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options);
  /// A projection by an existing weight: a tied head.
  Linear(const std::string& name, Tensor weight_OI);

  const char* kind() const override { return layout() == WeightLayout::kOutIn ? "Linear" : "Conv1D"; }

  /// x_TI → y_TO.
  Tensor forward(const Tensor& x_TI, const Pass& pass) const;

  int64_t in_features() const { return matrix()->in_features(); }
  int64_t out_features() const { return matrix()->out_features(); }
  /// The base's weight [out, in], whatever replaces it: a view of a dense weight, otherwise computed.
  Tensor weight() const { return matrix()->dequantised(); }
  /// The same of what the adapter in use computes with; for a host that is_plain() it and the bias determine the result.
  Tensor weight_in_use() const { return matrix_in_use()->dequantised(); }
  std::optional<Tensor> bias_in_use() const { return bias_ == nullptr ? std::nullopt : std::optional(bias_->current()); }

  /// The frozen projection with at most one low-rank pair, if nothing else is in use: no other kind of attachment, no trained weight,
  /// and not several adapters at once.
  std::optional<ops::Projection> as_projection(const Pass& pass) const;

 private:
  BaseWeight* bias_ = nullptr;
  uint64_t name_key_;
};

/// A projection of rows by a host with what is attached to it: in one op if it is frozen with at most one low-rank pair.
Tensor project_rows(const Host& host, const ProjectionCall& call);

/// Several projections of one input (q, k and v, or gate and up): in one op if each of them is as_projection().
std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass);

/// What project() keeps for each token: its input if anything is adapted or trained (unless it `is_kept` anyway), and what its
/// attachments keep.
Kept kept_by_project(const std::vector<const Linear*>& projections, bool is_kept = false);

}  // namespace lora::nn
