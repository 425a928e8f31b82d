#pragma once
#include <memory>

#include "quantization/packed_format.h"

namespace lora::quantization {

/// The format that quantization_config's quant_method names. Throws model Error that lists the known ones.
std::unique_ptr<PackedFormat> make_format(const JsonReader& section);

}  // namespace lora::quantization
