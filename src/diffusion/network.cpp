#include "lora/diffusion/network.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "diffusion/flux_transformer.h"
#include "diffusion/sd3_transformer.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/diffusion/unet.h"

namespace lora::diffusion {

namespace {

/// A class of diffusers, the component that it is, and what makes it.
struct NetworkKind {
  std::string_view class_name;
  std::string_view component;
  nn::Model (*make)(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options);
};

constexpr std::array kNetworks{
    NetworkKind{"UNet2DConditionModel", kUnet, make_unet},
    NetworkKind{"SD3Transformer2DModel", kTransformer, make_sd3_transformer},
    NetworkKind{"FluxTransformer2DModel", kTransformer, make_flux_transformer},
};

/// Old UNets do not name their class.
const NetworkKind& kind_of(const std::string& component, const JsonReader& config) {
  const std::string name = config.string("_class_name", component == kUnet ? "UNet2DConditionModel" : "");
  const auto* const found = std::find_if(kNetworks.begin(), kNetworks.end(), [&](const NetworkKind& kind) {
    return kind.component == component && kind.class_name == name;
  });
  if (found == kNetworks.end()) {
    std::vector<std::string> known;
    for (const NetworkKind& kind : kNetworks) {
      if (kind.component == component) {
        known.emplace_back(kind.class_name);
      }
    }
    model_error(config.where() + ": _class_name", "is not a network that can be trained: found " + (name.empty() ? "none" : name) +
                                                      ", expected " + join(known));
  }
  return *found;
}

}  // namespace

nn::Model make_network(const std::string& component, const ComponentConfig& config, io::WeightSource& source,
                       const at::TensorOptions& options) {
  return kind_of(component, config.reader()).make(config.json, config.where, source, options);
}

}  // namespace lora::diffusion
