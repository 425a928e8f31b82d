#pragma once
#include <memory>
#include <string>

#include "lora/peft/method.h"

namespace lora::peft {

/// Attaches bottleneck adapters (Houlsby et al. 2019, Pfeiffer et al. 2020, He et al. 2021) to the taps of the model's layers, with the
/// names, the numbers and the files of the adapters library.
std::unique_ptr<Method> attach_bottleneck(const BottleneckOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                          const std::string& adapter_name);

/// Throws config Error if the options cannot be attached to the model.
void require_bottleneck_places(const BottleneckOptions& options, nn::Model& model);

}  // namespace lora::peft
