#include "lora/nn/adapters.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"

namespace lora::nn {

namespace {

/// Everything that adapters can be attached to.
std::vector<Host*> places_of(const Model& model) {
  std::vector<Host*> all = model.hosts();
  const std::vector<Host*> taps = model.taps();
  all.insert(all.end(), taps.begin(), taps.end());
  return all;
}

}  // namespace

void use_adapter(Model& model, const std::string& name) {
  for (Host* place : places_of(model)) {
    place->use_adapter(name);
  }
}

void use_adapters(Model& model, const std::vector<std::string>& names) {
  use_adapter(model, names.size() == 1 ? names.front() : "");
  if (names.size() < 2) {
    return;
  }
  for (Host* place : places_of(model)) {
    for (BaseWeight& weight : place->weights()) {
      for (const std::string& name : names) {
        weight.use_adapter(name);
        if (!weight.adapter_in_use().empty()) {
          config_error("adapter " + name, "replaces the weight " + weight.parameter().name +
                                              ", so that it cannot be used with others. Use it alone, or merge it into the model first.");
        }
      }
    }
    for (const std::unique_ptr<Attachment>& attachment : place->attachments()) {
      attachment->enabled = std::find(names.begin(), names.end(), attachment->adapter) != names.end();
    }
  }
}

std::string adapter_in_use(const Model& model) {
  std::string found;
  for (const Host* place : places_of(model)) {
    const std::string own = place->adapter_in_use();
    TORCH_CHECK(own.empty() || found.empty() || own == found, "two adapters are in use: '", found, "' and '", own, "'");
    found = own.empty() ? found : own;
  }
  return found;
}

AdapterScope::AdapterScope(Model& model, const std::string& name) : model_(model), before_(adapter_in_use(model)) {
  use_adapter(model, name);
}

AdapterScope::~AdapterScope() {
  use_adapter(model_, before_);
}

void scale_adapter(Model& model, const std::string& name, double factor) {
  for (Host* host : model.hosts()) {
    for (LowRank* pair : host->attached<LowRank>()) {
      pair->scale *= pair->adapter == name ? factor : 1;
    }
  }
}

void remove_adapters(Model& model) {
  for (Host* place : places_of(model)) {
    place->remove_adapters();
  }
}

}  // namespace lora::nn
