#include "lora/models/mapped_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "models/registry.h"

namespace lora::models {

std::unique_ptr<nn::Model> map_model(const fs::path& folder) {
  const fs::path config_file = folder / "config.json";
  const Json json = read_json(config_file, ErrorKind::kModel);
  const JsonReader config(json, config_file.string(), ErrorKind::kModel);
  const std::string model_type = config.string("model_type");
  const Family& family = find_family(model_type, config_file.string());
  io::CheckpointSource source(folder);
  const CheckpointLayout layout = read_layout(source, config);
  require_unpacked(layout, config);
  const Json settled = settled_config(json, layout);
  const JsonReader reader(settled, config_file.string(), ErrorKind::kModel);
  io::RenamedSource renamed = renamed_source(source, layout);
  const at::NoGradGuard no_grad;
  const at::TensorOptions as_stored = at::TensorOptions(source.stored_dtype()).device(at::kCPU);
  auto model = family.build(reader, renamed, as_stored);
  if (const std::optional<int64_t> num_labels = stored_labels(source, layout)) {
    model->documents = family.build_head({model->body->hidden_size(), *num_labels}, reader, renamed, as_stored);
    model->tokens = nullptr;
  }
  return model;
}

}  // namespace lora::models
