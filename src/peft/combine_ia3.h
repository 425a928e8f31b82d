#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/peft/combine.h"

// Combining adapters of IA3, for combine().
namespace lora::peft {

/// Throws model Error for a method whose adapters cannot be combined, as in PEFT: all but LoRA and IA3.
void require_combinable(const Adapter& adapter);

/// Whether it is an adapter of IA3.
bool has_vectors(const Adapter& adapter);

/// The weighted sums of the vectors, as PEFT's IA3Model.add_weighted_adapter. Throws config Error for another method than linear, and
/// model Error for an adapter of another method, whole tensors, and vectors of a module that differ in length or place.
Adapter combined_ia3(const std::vector<WeightedAdapter>& adapters, const CombineOptions& options);

/// Writes PEFT's folder. Returns the number of modules.
size_t write_ia3(const std::filesystem::path& folder, const Adapter& adapter, const std::string& base_name);

}  // namespace lora::peft
