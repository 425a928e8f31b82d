#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/io/weight_source.h"
#include "lora/nn/host.h"
#include "lora/nn/pass.h"

namespace lora::nn {

/// A low-rank attachment as the host knows it (so that ops/ can fuse it): scale · dropout(x) Aᵀ Bᵀ.
struct LowRank {
  std::string adapter;  ///< the adapter's name
  Tensor A_RI;
  Tensor B_OR;
  double scale = 1.0;
  double dropout = 0.0;
  bool enabled = true;
};

struct LinearShape {
  int64_t in_features;
  int64_t out_features;
  bool bias = false;
};

/// y_TO = x_TI Wᵀ + b, plus the low-rank attachments.
class Linear : public Host {
 public:
  /// Takes `name`.weight [out, in] and, with a bias, `name`.bias [out] from the source, to `options`' dtype and device.
  Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options);
  /// A projection by an existing weight: a tied head.
  Linear(const std::string& name, Tensor weight_OI);

  const char* kind() const override { return "Linear"; }
  std::vector<Parameter> base_parameters() const override;

  /// x_TI → y_TO.
  Tensor forward(const Tensor& x_TI, const Pass& pass) const;

  void attach(LowRank attachment) { attachments_.push_back(std::move(attachment)); }
  const std::vector<LowRank>& attachments() const { return attachments_; }
  std::vector<LowRank>& attachments() { return attachments_; }

  int64_t in_features() const { return weight_.size(1); }
  int64_t out_features() const { return weight_.size(0); }
  const Tensor& weight() const { return weight_; }
  const std::optional<Tensor>& bias() const { return bias_; }
  /// Whether the weight belongs to another module (a tied head).
  bool tied() const { return tied_; }

 private:
  Tensor weight_;
  std::optional<Tensor> bias_;
  bool tied_ = false;
  uint64_t name_key_;
  std::vector<LowRank> attachments_;
};

/// Several projections of one input: q, k and v, or gate and up. One place, so that the input can be read once.
std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass);

}  // namespace lora::nn
