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

/// How a projection's weight is stored in its file: [out, in], or [in, out] as for transformers' Conv1D (GPT-2).
enum class WeightLayout { kOutIn, kInOut };

struct LinearShape {
  int64_t in_features;
  int64_t out_features;
  bool bias = false;
  WeightLayout layout = WeightLayout::kOutIn;
};

/// y_TO = x_TI Wᵀ + b, plus the low-rank attachments. The base weight keeps the layout of its file (weights()); W is a view of it,
/// transposed for kInOut.
class Linear : public MatrixHost {
 public:
  /// Takes `name`.weight [out, in] (or in the shape's layout) and, with a bias, `name`.bias [out] from the source, converted to
  /// the dtype and device of `options`.
  Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options);
  /// A projection by an existing weight: a tied head.
  Linear(const std::string& name, Tensor weight_OI);

  const char* kind() const override { return layout_ == WeightLayout::kOutIn ? "Linear" : "Conv1D"; }

  /// x_TI → y_TO.
  Tensor forward(const Tensor& x_TI, const Pass& pass) const;

  WeightLayout layout() const { return layout_; }
  int64_t in_features() const { return weight().size(1); }
  int64_t out_features() const { return weight().size(0); }
  /// The base's weight [out, in], whatever replaces it.
  Tensor weight() const { return turned(weight_.base()); }
  /// What the adapter in use computes with; for a host that is_plain() they determine the result.
  Tensor weight_in_use() const { return turned(weight_.current()); }
  std::optional<Tensor> bias_in_use() const { return bias_ == nullptr ? std::nullopt : std::optional(bias_->current()); }
  /// Whether the weight belongs to another module (a tied head).
  bool tied() const { return !weight_.owned(); }

  /// The frozen projection with at most one low-rank pair, if nothing else is in use: no DoRA, trained rows or trained weight, and
  /// not several adapters at once.
  std::optional<ops::Projection> as_projection(const Pass& pass) const;

 private:
  /// The weight as [out, in].
  Tensor turned(const Tensor& weight) const { return layout_ == WeightLayout::kOutIn ? weight : weight.t(); }
  /// The general form, for everything that as_projection() does not cover.
  Tensor composed(const Tensor& x_TI, const Pass& pass) const;
  ops::LowRankTerm term_of(const LowRank& attached, const Pass& pass) const;

  BaseWeight& weight_;
  BaseWeight* bias_ = nullptr;
  WeightLayout layout_ = WeightLayout::kOutIn;
  uint64_t name_key_;
};

/// Several projections of one input (q, k and v, or gate and up): in one op if each of them is as_projection().
std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass);

/// What project() keeps for each token: its input if anything is adapted or trained (unless it `is_kept` anyway), the adapters'
/// intermediate results, and DoRA's outputs.
Kept kept_by_project(const std::vector<const Linear*>& projections, bool is_kept = false);

}  // namespace lora::nn
