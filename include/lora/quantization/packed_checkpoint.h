#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/checkpoint.h"

namespace lora::quantization {

/// The quant_method of every way of packing that is read.
std::vector<std::string> known_quant_methods();

/// Whether quantization_config names a quant_method that is read.
bool is_known_method(const JsonReader& section);

/// A checkpoint whose files store packed weights, in which each is one tensor: `X.weight` instead of `X.qweight`, `X.scales`, … Modules
/// that the files hold plain are plain. Its fingerprint is that of the files.
/// @param section config.json's quantization_config, with a known quant_method.
/// @param inputs_first whether the family stores the weight of a module as [in, out].
/// Throws model Error naming the key for a variant that is not read, and naming the tensor if a packed weight lacks a part or parts do
/// not fit together.
std::unique_ptr<io::Checkpoint> packed_checkpoint(std::unique_ptr<io::Checkpoint> files, const JsonReader& section,
                                                  const std::function<bool(const std::string& module)>& inputs_first);

}  // namespace lora::quantization
