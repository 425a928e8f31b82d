#include "app/pipeline_result.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <limits>

#include "app/companions.h"
#include "app/pipeline_base.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/io/tensor_facts.h"

namespace lora::app {

namespace {

using diffusion::Pipeline;

constexpr int64_t kOneFile = std::numeric_limits<int64_t>::max();

/// The components that model_index.json names: names of folders next to it, never paths to other places.
std::vector<std::string> named_components(const Json& index) {
  std::vector<std::string> names;
  for (const auto& [name, value] : index.items()) {
    const bool is_name = !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
    if (is_name && value.is_array() && value.size() == 2 && value[1].is_string()) {
      names.push_back(name);
    }
  }
  return names;
}

/// Config and weights in one file, whatever variant and parts they were read from.
void write_weights(const Pipeline& pipeline, const std::string& component, const fs::path& folder) {
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(component);
  std::vector<io::TensorStream> streams;
  for (const std::string& name : weights->names()) {
    const io::TensorFacts facts = weights->facts(name);
    streams.push_back({name, facts.dtype, facts.shape, [&weights, name](const auto& append) {
                         append(weights->tensor(name));
                         weights->release(name);
                       }});
  }
  fs::create_directories(folder);
  write_file_atomically(folder / "config.json", pipeline.config(component).json.dump(2) + "\n");
  io::write_checkpoint(folder, streams, kOneFile, component == diffusion::kVae ? "diffusion_pytorch_model" : "model");
}

void copy_tokenizer(const Pipeline& pipeline, const std::string& component, const fs::path& folder) {
  fs::create_directories(folder);
  copy_companions(pipeline.files(component).front().parent_path(), folder);
}

void write_component(const Pipeline& pipeline, const std::string& component, const fs::path& folder) {
  const std::vector<std::string> encoders = pipeline.text_encoders();
  if (component == diffusion::kScheduler) {
    fs::create_directories(folder);
    write_file_atomically(folder / "scheduler_config.json", pipeline.config(component).json.dump(2) + "\n");
  } else if (component == diffusion::kVae || std::find(encoders.begin(), encoders.end(), component) != encoders.end()) {
    write_weights(pipeline, component, folder);
  } else if (component.starts_with("tokenizer")) {
    copy_tokenizer(pipeline, component, folder);
  } else if (is_folder(pipeline.path() / component)) {
    fs::copy(pipeline.path() / component, folder, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
}

}  // namespace

void require_pipeline_folder(const models::ModelOptions& model) {
  if (!is_folder(model.path)) {
    config_error("adapter",
                 "found null and a model in a single file, expected an adapter or the folder of a pipeline (model_index.json), because the "
                 "result is one. Convert it once with diffusers: StableDiffusionPipeline.from_single_file(…).save_pretrained(…).");
  }
}

void write_other_components(const models::ModelOptions& model, const std::string& network, const fs::path& folder) {
  const Pipeline pipeline(pipeline_options(model));
  const Json index = read_json(pipeline.path() / kPipelineIndex, ErrorKind::kModel);
  for (const std::string& component : named_components(index)) {
    if (component != network) {
      write_component(pipeline, component, folder / component);
    }
  }
  write_file_atomically(folder / kPipelineIndex, index.dump(2) + "\n");
}

std::vector<fs::path> pipeline_parts(const fs::path& folder) {
  if (!is_file(folder / kPipelineIndex)) {
    return {};
  }
  std::vector<fs::path> parts{folder / kPipelineIndex};
  try {
    for (const std::string& component : named_components(read_json(folder / kPipelineIndex, ErrorKind::kOutput))) {
      if (fs::exists(folder / component)) {
        parts.push_back(folder / component);
      }
    }
  } catch (const Error&) {
    // A damaged index names nothing: it alone is known to belong to a run.
  }
  return parts;
}

}  // namespace lora::app
