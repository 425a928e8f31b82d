#include "lora/models/mapped_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/io/checkpoint.h"
#include "lora/models/open_checkpoint.h"
#include "models/registry.h"

namespace lora::models {

std::unique_ptr<nn::Model> map_model(const fs::path& folder) {
  const ModelConfig config = read_model_config(folder);
  const JsonReader stored = config.reader();
  const std::string model_type = stored.string("model_type");
  const Family& family = find_family(model_type, config.where);
  const std::unique_ptr<io::Checkpoint> source = open_checkpoint(folder, config);
  const CheckpointLayout layout = read_layout(*source, stored);
  require_readable(layout, stored);
  const Json settled = settled_config(config.json, layout);
  const JsonReader reader(settled, config.where, ErrorKind::kModel);
  io::RenamedSource renamed = renamed_source(*source, layout);
  const at::NoGradGuard no_grad;
  const at::TensorOptions as_stored = at::TensorOptions(source->stored_dtype()).device(at::kCPU);
  auto model = family.build(reader, renamed, as_stored);
  model->family = family.model_type;
  if (const std::optional<int64_t> num_labels = stored_labels(*source, layout)) {
    model->documents = family.build_head({model->body->hidden_size(), *num_labels}, reader, renamed, as_stored);
    model->tokens = nullptr;
  }
  return model;
}

}  // namespace lora::models
