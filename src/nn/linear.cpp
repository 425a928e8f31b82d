#include "lora/nn/linear.h"

#include <ATen/ATen.h>

#include "nn/attached.h"
#include "lora/base/random.h"
#include "lora/ops/dora_linear.h"

namespace lora::nn {

namespace {

std::vector<int64_t> stored_sizes(const LinearShape& shape) {
  return shape.layout == WeightLayout::kOutIn ? std::vector<int64_t>{shape.out_features, shape.in_features}
                                              : std::vector<int64_t>{shape.in_features, shape.out_features};
}

}  // namespace

Linear::Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name),
      weight_(add_weight("weight", source.get(name + ".weight", stored_sizes(shape), io::WeightRole::kLinear).to(options), true)),
      layout_(shape.layout),
      name_key_(hash_name(name)) {
  if (shape.bias) {
    bias_ = &add_weight("bias", source.get(name + ".bias", {shape.out_features}, io::WeightRole::kBias).to(options), false);
  }
}

Linear::Linear(const std::string& name, Tensor weight_OI)
    : MatrixHost(name), weight_(add_weight("weight", std::move(weight_OI), true, /*owned=*/false)), name_key_(hash_name(name)) {}

ops::LowRankTerm Linear::term_of(const LowRank& attached, const Pass& pass) const {
  return {attached.A_RI,
          attached.B_OR,
          attached.scale,
          {pass.row_keys_T, mix64(name_key_, hash_name(attached.adapter)), attached.dropout},
          attached.bias_O};
}

std::optional<ops::Projection> Linear::as_projection(const Pass& pass) const {
  ops::Projection projection{weight_in_use(), bias_in_use()};
  if (projection.W_OI.requires_grad() || any_enabled(token_rows())) {
    return std::nullopt;
  }
  for (const LowRank& attached : attachments()) {
    if (!attached.enabled) {
      continue;
    }
    if (projection.low_rank || attached.magnitude_O) {
      return std::nullopt;
    }
    projection.low_rank = term_of(attached, pass);
  }
  return projection;
}

Tensor Linear::forward(const Tensor& x_TI, const Pass& pass) const {
  if (pass.observer != nullptr) {
    pass.observer->see(*this, x_TI);
  }
  if (const std::optional<ops::Projection> projection = as_projection(pass)) {
    return ops::project(x_TI, {*projection}).front();
  }
  if (is_plain()) {  // and trained
    return at::linear(x_TI, weight_in_use(), bias_in_use().value_or(Tensor()));
  }
  return composed(x_TI, pass);
}

Tensor Linear::composed(const Tensor& x_TI, const Pass& pass) const {
  const std::optional<Tensor> bias_O = bias_in_use();
  const Tensor W_OI = weight_in_use();
  Tensor y_TO;
  for (const TokenRows& rows : token_rows()) {
    if (rows.enabled) {
      const Tensor base_TO = y_TO.defined() ? y_TO : at::linear(x_TI, W_OI, bias_O.value_or(Tensor()));
      y_TO = with_token_logits(base_TO, x_TI, rows, bias_O);
    }
  }
  for (const LowRank& attached : attachments()) {
    if (!attached.enabled) {
      continue;
    }
    const ops::LowRankTerm term = term_of(attached, pass);
    if (attached.magnitude_O) {
      const ops::DoraTerm dora{term, *attached.magnitude_O, attached.norms.of(W_OI, attached.A_RI, attached.B_OR, attached.scale)};
      y_TO = y_TO.defined() ? y_TO + (ops::dora_linear(x_TI, W_OI, std::nullopt, dora) - at::linear(x_TI, W_OI))
                            : ops::dora_linear(x_TI, W_OI, bias_O, dora);
    } else {
      y_TO = y_TO.defined() ? y_TO : at::linear(x_TI, W_OI, bias_O.value_or(Tensor()));
      y_TO = (y_TO + ops::low_rank(x_TI, term)).to(x_TI.scalar_type());
    }
  }
  return y_TO;
}

std::vector<Tensor> project(const Tensor& x_TI, const std::vector<const Linear*>& projections, const Pass& pass) {
  std::vector<ops::Projection> together;
  for (const Linear* linear : projections) {
    const std::optional<ops::Projection> projection = linear->as_projection(pass);
    if (!projection || pass.observer != nullptr) {
      break;
    }
    together.push_back(*projection);
  }
  if (together.size() == projections.size()) {
    return ops::project(x_TI, together);
  }
  std::vector<Tensor> outputs;
  for (const Linear* linear : projections) {
    outputs.push_back(linear->forward(x_TI, pass));
  }
  return outputs;
}

Kept kept_by_project(const std::vector<const Linear*>& projections, bool is_kept) {
  Kept kept;
  bool needs_input = false;
  for (const Linear* linear : projections) {
    needs_input = needs_input || linear->is_trained();
    for (const LowRank& attached : linear->attachments()) {
      if (attached.enabled) {
        kept.floats += attached.A_RI.size(0);
        kept.elements += attached.magnitude_O ? linear->out_features() : 0;
      }
    }
  }
  kept.elements += needs_input && !is_kept ? projections.front()->in_features() : 0;
  return kept;
}

}  // namespace lora::nn
