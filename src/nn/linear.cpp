#include "lora/nn/linear.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/ops/lora_linear.h"

namespace lora::nn {

Linear::Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : Host(name), name_key_(hash_name(name)) {
  weight_ = source.get(name + ".weight", {shape.out_features, shape.in_features}, io::WeightRole::kLinear).to(options);
  if (shape.bias) {
    bias_ = source.get(name + ".bias", {shape.out_features}, io::WeightRole::kBias).to(options);
  }
}

Linear::Linear(const std::string& name, Tensor weight_OI)
    : Host(name), weight_(std::move(weight_OI)), tied_(true), name_key_(hash_name(name)) {}

std::vector<Parameter> Linear::base_parameters() const {
  std::vector<Parameter> parameters;
  if (!tied_) {
    parameters.push_back({name() + ".weight", weight_, true});
  }
  if (bias_) {
    parameters.push_back({name() + ".bias", *bias_, false});
  }
  return parameters;
}

Tensor Linear::forward(const Tensor& x_TI, const Pass& pass) const {
  Tensor y_TO;
  for (const LowRank& attached : attachments_) {
    if (!attached.enabled) {
      continue;
    }
    const ops::LowRankTerm term{
        attached.A_RI, attached.B_OR, attached.scale, {pass.row_keys_T, mix64(name_key_, hash_name(attached.adapter)), attached.dropout}};
    // The first one is fused with the base projection.
    y_TO = y_TO.defined() ? (y_TO + ops::low_rank(x_TI, term)).to(x_TI.scalar_type()) : ops::lora_linear(x_TI, weight_, bias_, term);
  }
  return y_TO.defined() ? y_TO : at::linear(x_TI, weight_, bias_ ? *bias_ : Tensor());
}

std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass) {
  std::vector<Tensor> outputs;
  outputs.reserve(projections.size());
  for (const Linear* projection : projections) {
    outputs.push_back(projection->forward(x_TI, pass));
  }
  return outputs;
}

}  // namespace lora::nn
