#include "lora/nn/model.h"

#include <ATen/ATen.h>

#include "lora/nn/denoiser.h"
#include "lora/nn/row_model.h"

namespace lora::nn {

namespace {

/// The modules on top of the body.
std::vector<Host*> hosts_of_heads(const Model& model) {
  std::vector<Host*> all = model.tokens == nullptr ? std::vector<Host*>() : model.tokens->hosts();
  if (model.documents != nullptr) {
    const std::vector<Host*> own = model.documents->hosts();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

}  // namespace

const RowModel* Model::rows() const {
  return dynamic_cast<const RowModel*>(body.get());
}

const Denoiser* Model::denoiser() const {
  return dynamic_cast<const Denoiser*>(body.get());
}

std::vector<Host*> Model::hosts() const {
  std::vector<Host*> all = body->hosts();
  const std::vector<Host*> heads = hosts_of_heads(*this);
  all.insert(all.end(), heads.begin(), heads.end());
  return all;
}

std::vector<Parameter> Model::base_parameters() const {
  std::vector<Parameter> all = body->base_parameters();
  const std::vector<Parameter> of_heads = base_parameters_of(hosts_of_heads(*this));
  all.insert(all.end(), of_heads.begin(), of_heads.end());
  return all;
}

void Model::freeze_base() const {
  for (const Parameter& parameter : base_parameters()) {
    parameter.tensor.set_requires_grad(false);
  }
}

BaseSize Model::base_size() const {
  BaseSize size;
  for (const Parameter& parameter : base_parameters()) {
    size.values += parameter.tensor.numel();
    size.bytes += static_cast<int64_t>(parameter.tensor.nbytes());
  }
  for (const Host* host : hosts()) {
    for (const BaseWeight& weight : host->weights()) {
      if (weight.owned() && weight.is_quantised()) {
        size.values += weight.matrix()->in_features() * weight.matrix()->out_features();
        size.bytes += weight.bytes();
      }
    }
  }
  return size;
}

}  // namespace lora::nn
