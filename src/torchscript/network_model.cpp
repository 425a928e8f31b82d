#include "network_model.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>

namespace lora::torchscript {

std::vector<nn::Host*> NetworkModel::hosts() {
  std::vector<nn::Host*> all;
  for (const auto& host : network_->hosts().all) {
    const auto unreached = network_->hosts().unreached.find(host.get());
    all.push_back(unreached == network_->hosts().unreached.end() ? host.get() : unreached->second.get());
  }
  if (network_->hosts().head != nullptr) {  // the head last
    const auto head = std::find(all.begin(), all.end(), network_->hosts().head);
    if (head != all.end()) {
      std::rotate(head, head + 1, all.end());
    }
  }
  return all;
}

std::vector<nn::Parameter> NetworkModel::base_parameters() const {
  std::vector<nn::Parameter> all;
  for (const auto& host : network_->hosts().all) {
    const std::vector<nn::Parameter> own = host->base_parameters();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

c10::IValue NetworkModel::run(const nn::Pass& pass, const Rectangle& rectangle) const {
  Rows rows{at::Tensor(), rectangle.num_documents, rectangle.places_T};
  if (pass.training()) {
    rows.keys = at::zeros({rectangle.num_documents * rectangle.length}, pass.row_keys_T.options())
                    .index_copy(0, rectangle.places_T, pass.row_keys_T);
  }
  return network_->run(fields_.arguments(pass.batch, rectangle), pass, rows);
}

void NetworkModel::seed_base_dropout(const nn::Pass& pass) const {
  if (pass.training() && pass.row_keys_T.numel() > 0) {
    const auto key = static_cast<uint64_t>(pass.row_keys_T[0].item<int64_t>());
    at::Generator generator = at::globalContext().defaultGenerator(device());
    generator.set_current_seed(key);
  }
}

int64_t NetworkModel::linear_bytes() const {
  int64_t features = 0;
  for (const auto& host : network_->hosts().all) {
    if (const auto* linear = dynamic_cast<const nn::Linear*>(host.get())) {
      features += 2 * (linear->in_features() + linear->out_features());
    }
  }
  return features * static_cast<int64_t>(c10::elementSize(dtype()));
}

}  // namespace lora::torchscript
