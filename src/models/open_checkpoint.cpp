#include "lora/models/open_checkpoint.h"

#include "lora/base/file.h"

namespace lora::models {

ModelConfig read_model_config(const fs::path& model) {
  const fs::path file = model / "config.json";
  return {read_json(file, ErrorKind::kModel), file.string()};
}

std::unique_ptr<io::Checkpoint> open_checkpoint(const fs::path& model, const ModelConfig&) {
  return std::make_unique<io::SafetensorsCheckpoint>(model);
}

bool has_weights(const fs::path& model) {
  return fs::exists(model / "model.safetensors") || fs::exists(model / "model.safetensors.index.json");
}

}  // namespace lora::models
