#include "torchscript/network_model.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::torchscript {

std::vector<nn::Host*> NetworkModel::hosts() {
  std::vector<nn::Host*> all;
  for (const auto& host : network_->hosts().all) {
    const auto unreached = network_->hosts().unreached.find(host.get());
    all.push_back(unreached == network_->hosts().unreached.end() ? host.get() : unreached->second.get());
  }
  const std::vector<Lookup>& lookups = network_->hosts().lookups;
  std::stable_partition(all.begin(), all.end(), [&](const nn::Host* host) {  // the table of ids first
    return std::any_of(lookups.begin(), lookups.end(), [&](const Lookup& lookup) { return lookup.table == host && is_of_ids(lookup); });
  });
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
  PassRows rows{at::Tensor(), rectangle.num_documents, rectangle.places_T, rectangle.length, call_sizes_};
  if (pass.training()) {
    rows.keys = at::zeros({rectangle.num_documents * rectangle.length}, pass.row_keys_T.options())
                    .index_copy(0, rectangle.places_T, pass.row_keys_T);
  }
  return network_->run(fields_.arguments(pass.batch(), rectangle), pass, rows);
}

void NetworkModel::begin(const nn::Pass& pass) const {
  if (!pass.training()) {
    return;
  }
  if (pass.row_keys_T.numel() > 0) {
    const auto key = static_cast<uint64_t>(pass.row_keys_T[0].item<int64_t>());
    at::Generator generator = at::globalContext().defaultGenerator(device());
    generator.set_current_seed(key);
  }
  warn_of_idle_hosts();
}

int64_t NetworkModel::num_ids() const {
  int64_t rows = 0;
  for (const Lookup& lookup : network_->hosts().lookups) {
    if (is_of_ids(lookup)) {
      rows = rows == 0 ? lookup.num_rows : std::min(rows, lookup.num_rows);
    }
  }
  return rows;
}

void NetworkModel::warn_of_idle_hosts() const {
  std::vector<std::string> names;
  for (const nn::MatrixHost* host : idle_) {
    if (host->is_trained()) {
      names.push_back(host->name());
    }
  }
  if (!names.empty()) {
    idle_.clear();
    log::warn("[" + network_->where() + "] the batch that was tried while loading did not use " + join(names, ", ", 8) +
              ", so that adapters there could not be checked");
  }
}

}  // namespace lora::torchscript
