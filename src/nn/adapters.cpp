#include "lora/nn/adapters.h"

namespace lora::nn {

void use_adapter(Model& model, const std::string& name) {
  for (Host* host : model.hosts()) {
    host->use_adapter(name);
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
  for (Host* host : model.hosts()) {
    host->remove_adapters();
  }
}

}  // namespace lora::nn
