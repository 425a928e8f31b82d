// Components are written while their base is read: one piece of one tensor at a time.
#include "app/merge_pipeline.h"

#include <algorithm>
#include <map>
#include <set>

#include "app/merge_base.h"
#include "app/merge_single_file.h"
#include "app/new_folder.h"
#include "app/pipeline_merge.h"
#include "app/pipeline_result.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/models/base_model.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

/// Refuses what only applies to language models, instead of ignoring it.
void require_pipeline_flags(const MergeRequest& request) {
  const std::map<const char*, bool> given{{"--verify", request.verify},          {"--base-as", !request.base_as.empty()},
                                          {"--requantize", request.requantize},  {"--trust-torchscript", request.trust_torchscript},
                                          {"--inputs", !request.inputs.empty()}, {"--output-field", !request.output_field.empty()}};
  for (const auto& [flag, is_given] : given) {
    if (is_given) {
      config_error(flag, "cannot be used with a text-to-image pipeline");
    }
  }
}

/// Gives weights that exist only as a variant (model.fp16.safetensors) the plain name, as the changed components have it: diffusers loads
/// all of a pipeline by one variant.
void settle_variant(const fs::path& folder) {
  for (const std::string stem : {"diffusion_pytorch_model", "model"}) {
    if (fs::exists(folder / (stem + ".safetensors")) || fs::exists(folder / (stem + ".safetensors.index.json"))) {
      continue;
    }
    std::vector<fs::path> variants;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(stem + ".") && name.ends_with(".safetensors")) {
        variants.push_back(entry.path());
      }
    }
    if (variants.size() == 1) {
      fs::rename(variants.front(), folder / (stem + ".safetensors"));
    }
  }
}

/// The result as a folder.
class MergedFolder {
 public:
  explicit MergedFolder(const PipelineMerge& merge) : merge_(merge), changed_(merge.changed_components()) {}

  void write(const fs::path& folder, int64_t max_shard_size) const {
    for (const fs::directory_entry& entry : fs::directory_iterator(merge_.model.path)) {
      const std::string name = entry.path().filename().string();
      if (changed_.count(name) > 0) {
        write_component(folder / name, name, max_shard_size);
      } else if (name == kPipelineIndex || (entry.is_directory() && merge_.pipeline.has(name))) {
        fs::copy(entry.path(), folder / name, fs::copy_options::recursive);  // links of a hub's cache become files
        if (entry.is_directory()) {
          settle_variant(folder / name);
        }
      }
    }
  }

 private:
  void write_component(const fs::path& folder, const std::string& component, int64_t max_shard_size) const {
    fs::create_directories(folder);
    std::vector<io::TensorStream> streams;
    for (const peft::MergedTensor& tensor : merge_.plan.tensors) {
      if (peft::component_of(tensor.name) == component) {
        streams.push_back(stream(tensor, component));
      }
    }
    Json config = merge_.pipeline.config(component).json;
    for (const char* key : {"torch_dtype", "dtype"}) {
      if (config.contains(key) && merge_.model.dtype != models::ComputeDtype::kAuto) {
        config[key] = std::string(models::kComputeDtypes.name(merge_.model.dtype));
      }
    }
    write_file_atomically(folder / "config.json", config.dump(2) + "\n");
    io::write_checkpoint(folder, streams, max_shard_size, component == merge_.pipeline.network() ? "diffusion_pytorch_model" : "model");
  }

  io::TensorStream stream(const peft::MergedTensor& tensor, const std::string& component) const {
    const at::ScalarType own = merge_.weights.facts(tensor.source).dtype;
    const at::ScalarType dtype = tensor.is_float ? models::scalar_type(merge_.model.dtype).value_or(own) : own;
    return {tensor.name.substr(component.size() + 1), dtype, tensor.shape, [this, &tensor, dtype](const auto& append) {
              append_merged(tensor, dtype, merge_.weights.tensor(tensor.source), append, [&] { merge_.weights.release(tensor.source); });
            }};
  }

  const PipelineMerge& merge_;
  const std::set<std::string> changed_;
};

}  // namespace

void merge_pipeline(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  require_pipeline_flags(request);
  if (!is_folder(model.path)) {
    merge_single_file(request, model, adapters);
    return;
  }
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  require_new_folder(request.output, inputs, request.overwrite);
  const PipelineMerge merge(request, model, adapters);
  write_new_folder(request.output, [&](const fs::path& folder) { MergedFolder(merge).write(folder, request.max_shard_size); });
  log::end_progress();
  log::info("wrote " + request.output.string() + ": " + merge.summary());
}

}  // namespace lora::app
