#include "lora/nn/adapters.h"

#include <ATen/ATen.h>

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
