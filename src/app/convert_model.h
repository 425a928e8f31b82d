#pragma once
#include "lora/app/convert_command.h"

namespace lora::app {

/// `lora-convert --quantize`: writes a model folder with packed projections that transformers loads with bitsandbytes, and prints its
/// size. Memory holds one matrix and the scales of all. Throws config Error for flags of adapters, model Error for a model that cannot be
/// read or has no projection, output Error for an existing output.
void convert_model(const ConvertRequest& request);

}  // namespace lora::app
