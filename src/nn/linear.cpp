#include "lora/nn/linear.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/ops/packed_weight.h"

namespace lora::nn {

namespace {

std::vector<int64_t> stored_sizes(const LinearShape& shape) {
  return shape.layout == WeightLayout::kOutIn ? std::vector<int64_t>{shape.out_features, shape.in_features}
                                              : std::vector<int64_t>{shape.in_features, shape.out_features};
}

/// What projections multiply by, for each way in which a source stores a weight.
std::shared_ptr<const ops::LinearWeight> make_weight(const io::StoredWeight& stored, WeightLayout layout,
                                                     const at::TensorOptions& options) {
  if (stored.packed != nullptr) {
    return std::make_shared<const ops::PackedWeight>(stored.packed->to(options.device()), at::typeMetaToScalarType(options.dtype()));
  }
  return std::make_shared<const ops::DenseWeight>(stored.tensor.to(options), layout);
}

/// The base's projection with the low-rank pair in use, if nothing else is: no other kind of attachment, no trained weight, and not
/// several adapters at once.
std::optional<ops::Projection> fused_projection(const Host& host, ops::Projection projection, const Pass& pass, uint64_t host_key) {
  if (projection.weight->requires_grad()) {
    return std::nullopt;
  }
  for (const std::unique_ptr<Attachment>& attachment : host.attachments()) {
    if (!attachment->enabled) {
      continue;
    }
    const LowRank* const pair = attachment->fused();
    if (pair == nullptr || projection.low_rank) {
      return std::nullopt;
    }
    projection.low_rank = pair->term(pass, host_key);
  }
  return projection;
}

}  // namespace

Linear::Linear(const std::string& name, const LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name, make_weight(source.weight(name + ".weight", stored_sizes(shape), io::WeightRole::kLinear), shape.layout, options)),
      name_key_(hash_name(name)) {
  if (shape.bias) {
    bias_ = &add_weight("bias", source.get(name + ".bias", {shape.out_features}, io::WeightRole::kBias).to(options), false);
  }
}

Linear::Linear(const std::string& name, Tensor weight_OI)
    : MatrixHost(name, std::make_shared<const ops::DenseWeight>(std::move(weight_OI)), /*owned=*/false), name_key_(hash_name(name)) {}

Tensor project_rows(const Host& host, const ProjectionCall& call) {
  if (const std::optional<ops::Projection> projection = fused_projection(host, {call.weight, call.bias_O}, call.pass, call.host_key)) {
    return ops::project(call.x_TI, {*projection}).front();
  }
  Tensor y_TO;
  for (const std::unique_ptr<Attachment>& attachment : host.attachments()) {
    if (attachment->enabled) {
      y_TO = attachment->project(call, y_TO);
    }
  }
  return y_TO.defined() ? y_TO : call.base();  // a trained weight alone
}

std::optional<ops::Projection> Linear::as_projection(const Pass& pass) const {
  return fused_projection(*this, {matrix_in_use(), bias_in_use()}, pass, name_key_);
}

Tensor Linear::forward(const Tensor& x_TI, const Pass& pass) const {
  if (pass.observer != nullptr) {
    pass.observer->see(*this, x_TI);
  }
  return project_rows(*this, {x_TI, pass, name_key_, matrix_in_use(), bias_in_use()});
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
    for (const std::unique_ptr<Attachment>& attachment : linear->attachments()) {
      kept += attachment->enabled ? attachment->kept(linear->out_features()) : Kept{};
    }
  }
  kept.elements += needs_input && !is_kept ? projections.front()->in_features() : 0;
  return kept;
}

}  // namespace lora::nn
