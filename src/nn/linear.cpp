#include "lora/nn/linear.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/ops/dora_linear.h"

namespace lora::nn {

Linear::Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name),
      weight_(add_weight("weight",
                         source.get(name + ".weight", {shape.out_features, shape.in_features}, io::WeightRole::kLinear).to(options), true)),
      name_key_(hash_name(name)) {
  if (shape.bias) {
    bias_ = &add_weight("bias", source.get(name + ".bias", {shape.out_features}, io::WeightRole::kBias).to(options), false);
  }
}

Linear::Linear(const std::string& name, Tensor weight_OI)
    : MatrixHost(name), weight_(add_weight("weight", std::move(weight_OI), true, /*owned=*/false)), name_key_(hash_name(name)) {}

Tensor Linear::forward(const Tensor& x_TI, const Pass& pass) const {
  if (pass.observer != nullptr) {
    pass.observer->see(*this, x_TI);
  }
  const std::optional<Tensor> bias_O = bias_in_use();
  Tensor y_TO;
  for (const TokenRows& rows : token_rows()) {
    if (rows.enabled) {
      const Tensor base_TO = y_TO.defined() ? y_TO : at::linear(x_TI, weight_in_use(), bias_O.value_or(Tensor()));
      y_TO = with_token_logits(base_TO, x_TI, rows, bias_O);
    }
  }
  for (const LowRank& attached : attachments()) {
    if (attached.enabled) {
      y_TO = add_low_rank(y_TO, x_TI, attached, pass);
    }
  }
  return y_TO.defined() ? y_TO : at::linear(x_TI, weight_in_use(), bias_O.value_or(Tensor()));
}

Tensor Linear::add_low_rank(const Tensor& y_TO, const Tensor& x_TI, const LowRank& attached, const Pass& pass) const {
  const ops::LowRankTerm term{attached.A_RI,
                              attached.B_OR,
                              attached.scale,
                              {pass.row_keys_T, mix64(name_key_, hash_name(attached.adapter)), attached.dropout},
                              attached.bias_O};
  const Tensor W_OI = weight_in_use();
  if (attached.magnitude_O) {
    const ops::DoraTerm dora{term, *attached.magnitude_O, attached.norms.of(W_OI, attached.A_RI, attached.B_OR, attached.scale)};
    return y_TO.defined() ? y_TO + (ops::dora_linear(x_TI, W_OI, std::nullopt, dora) - at::linear(x_TI, W_OI))
                          : ops::dora_linear(x_TI, W_OI, bias_in_use(), dora);
  }
  // The first one is fused with the base projection.
  return y_TO.defined() ? (y_TO + ops::low_rank(x_TI, term)).to(x_TI.scalar_type()) : ops::lora_linear(x_TI, W_OI, bias_in_use(), term);
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
