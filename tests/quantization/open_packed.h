#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "lora/base/json.h"
#include "lora/quantization/packed_checkpoint.h"

namespace lora::quantization {

/// The checkpoint of a folder whose config.json has a quantization_config.
inline std::unique_ptr<io::Checkpoint> open_packed(const std::filesystem::path& folder, bool inputs_first = false) {
  const Json config = read_json(folder / "config.json", ErrorKind::kModel);
  const JsonReader reader(config, "config.json", ErrorKind::kModel);
  return packed_checkpoint(std::make_unique<io::SafetensorsCheckpoint>(folder), reader.object("quantization_config"),
                           [inputs_first](const std::string&) { return inputs_first; });
}

}  // namespace lora::quantization
