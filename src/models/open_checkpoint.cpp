#include "lora/models/open_checkpoint.h"

#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "models/gguf_checkpoint.h"

namespace lora::models {

ModelConfig read_model_config(const fs::path& model) {
  const fs::path file = model / "config.json";
  return {read_json(file, ErrorKind::kModel), file.string()};
}

std::unique_ptr<io::Checkpoint> open_checkpoint(const fs::path& model, const ModelConfig&) {
  if (is_bundle(model)) {
    return open_gguf_checkpoint(std::make_shared<const io::GgufFile>(model));
  }
  return std::make_unique<io::SafetensorsCheckpoint>(model);
}

bool has_weights(const fs::path& model) {
  return is_bundle(model) || fs::exists(model / "model.safetensors") || fs::exists(model / "model.safetensors.index.json");
}

}  // namespace lora::models
