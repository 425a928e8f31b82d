#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "lora/base/json.h"
#include "lora/io/checkpoint.h"

namespace lora::models {

/// The config.json of a base model.
struct ModelConfig {
  Json json;
  std::string where;  ///< its path, for messages

  JsonReader reader() const { return {json, where, ErrorKind::kModel}; }
};

/// @param model the folder of a base model, or a GGUF file (see gguf_model.h). Throws model Error if its config.json cannot be read.
ModelConfig read_model_config(const std::filesystem::path& model);

/// The weights of a base model, in whichever way its files hold them; packed weights stay packed if their quant_method is known. If it
/// is not, they are the tensors of the files (and require_readable refuses them). Throws model Error if there are no weights, and for
/// packed ones that do not follow their format.
std::unique_ptr<io::Checkpoint> open_checkpoint(const std::filesystem::path& model, const ModelConfig& config);

/// Whether there are weights that open_checkpoint might open: a folder may hold config.json alone.
bool has_weights(const std::filesystem::path& model);

}  // namespace lora::models
