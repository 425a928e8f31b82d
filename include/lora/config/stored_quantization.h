#pragma once
#include <c10/core/ScalarType.h>

#include <string>

#include "lora/models/options.h"

// How a base was quantised while it was loaded, in the metadata of an adapter's file: the section model.quantization with all of its keys,
// and `dtype`, to which the weights were converted first.
namespace lora::config {

struct StoredQuantization {
  models::Quantization quantization;
  models::ComputeDtype dtype = models::ComputeDtype::kAuto;
};

std::string quantization_settings(const models::Quantization& quantization, c10::ScalarType dtype);

/// @param where the adapter, for errors. Throws model Error for a text that quantization_settings does not write.
StoredQuantization read_quantization_settings(const std::string& settings, const std::string& where);

}  // namespace lora::config
