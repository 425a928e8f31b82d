#pragma once
#include <optional>

#include "lora/peft/adapter.h"
#include "lora/peft/formats.h"

namespace lora::peft {

/// The families of text-to-image models, as kohya's tools tell them apart.
enum class NetworkFamily { kVersion1, kVersion2, kXl, kVersion3, kFlux };

/// The family of a pipeline adapter's base by the adapter's modules and their sizes; none: they do not show it.
std::optional<NetworkFamily> family_by_modules(const Adapter& adapter);

/// The family by the base's config, or by the modules if the base is not known. Throws model Error if they do not show it.
NetworkFamily family_of(const Adapter& adapter, const BaseFacts& base);

}  // namespace lora::peft
