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

/// How a projection's weight lies in its file: [out, in], or [in, out] as in transformers' Conv1D (GPT-2).
enum class WeightLayout { kOutIn, kInOut };

struct LinearShape {
  int64_t in_features;
  int64_t out_features;
  bool bias = false;
  WeightLayout layout = WeightLayout::kOutIn;
};

/// y_TO = x_TI Wᵀ + b, plus the low-rank attachments. The base weight stays as its file has it (weights()); W is a view of
/// it where the file has it turned.
class Linear : public MatrixHost {
 public:
  /// Takes `name`.weight [out, in] (or as the shape's layout says) and, with a bias, `name`.bias [out] from the source, to
  /// `options`' dtype and device.
  Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options);
  /// A projection by an existing weight: a tied head.
  Linear(const std::string& name, Tensor weight_OI);

  const char* kind() const override { return layout_ == WeightLayout::kOutIn ? "Linear" : "Conv1D"; }

  /// x_TI → y_TO.
  Tensor forward(const Tensor& x_TI, const Pass& pass) const;

  WeightLayout layout() const { return layout_; }
  int64_t in_features() const { return weight().size(1); }
  int64_t out_features() const { return weight().size(0); }
  /// The base's [out, in], whatever stands in for it.
  Tensor weight() const { return turned(weight_.base()); }
  /// What the adapter in use computes with; where the host is_plain(), they say everything.
  Tensor weight_in_use() const { return turned(weight_.current()); }
  std::optional<Tensor> bias_in_use() const { return bias_ == nullptr ? std::nullopt : std::optional(bias_->current()); }
  /// Whether the weight belongs to another module (a tied head).
  bool tied() const { return !weight_.owned(); }

  /// The frozen projection with at most one low-rank pair, if that is what is in use: not DoRA, trained rows, a trained
  /// weight, several adapters at once.
  std::optional<ops::Projection> as_projection(const Pass& pass) const;

 private:
  /// The weight as [out, in].
  Tensor turned(const Tensor& weight) const { return layout_ == WeightLayout::kOutIn ? weight : weight.t(); }
  /// Everything else than as_projection(), one part after the other.
  Tensor composed(const Tensor& x_TI, const Pass& pass) const;
  ops::LowRankTerm term_of(const LowRank& attached, const Pass& pass) const;

  BaseWeight& weight_;
  BaseWeight* bias_ = nullptr;
  WeightLayout layout_ = WeightLayout::kOutIn;
  uint64_t name_key_;
};

/// Several projections of one input (q, k and v, or gate and up): in one op where each is as_projection().
std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass);

/// What project() keeps of a token: its input where anything is adapted or trained (unless it `is_kept` anyway), what the adapters made
/// of it, and DoRA's outputs.
Kept kept_by_project(const std::vector<const Linear*>& projections, bool is_kept = false);

}  // namespace lora::nn
