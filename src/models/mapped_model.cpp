#include "lora/models/mapped_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "registry.h"

namespace lora::models {

std::unique_ptr<nn::Model> map_model(const fs::path& folder) {
  const fs::path config_file = folder / "config.json";
  const Json json = read_json(config_file, ErrorKind::kModel);
  const JsonReader config(json, config_file.string(), ErrorKind::kModel);
  const std::string model_type = config.string("model_type");
  BuildFamily* const build = find_family(model_type, config_file.string());
  io::CheckpointSource source(folder);
  io::RenamedSource renamed = renamed_source(source, model_type);
  const at::NoGradGuard no_grad;
  return build(config, renamed, at::TensorOptions(source.stored_dtype()).device(at::kCPU));
}

}  // namespace lora::models
