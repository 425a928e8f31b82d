// Components are written while their base is read: one piece of one tensor at a time.
#include "app/merge_pipeline.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <set>

#include "app/merge_base.h"
#include "app/new_folder.h"
#include "app/pipeline_result.h"
#include "app/pipeline_weights.h"
#include "lora/base/bundle.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/base_model.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

using at::Tensor;

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
  if (!is_folder(request.model)) {
    config_error("--model",
                 "found a single file, expected the folder of a pipeline (model_index.json), because the result is one. Convert "
                 "it once with diffusers: StableDiffusionPipeline.from_single_file(…).save_pretrained(…).");
  }
}

peft::BaseLayout layout_of(const PipelineWeights& weights) {
  peft::BaseLayout layout;
  for (const std::string& name : weights.names()) {
    const io::TensorFacts facts = weights.facts(name);
    layout.tensors.push_back({name, facts.shape, io::is_plain_float(facts.dtype), ""});
  }
  return layout;
}

/// The adapters as updates of the unchanged base. Throws model Error for one of another kind of model.
std::vector<peft::WeightedAdapter> settled_pipeline(const PipelineWeights& weights, std::vector<peft::WeightedAdapter> adapters) {
  for (peft::WeightedAdapter& adapter : adapters) {
    if (!peft::is_of_pipeline(adapter.adapter)) {
      model_error(adapter.name, "is not an adapter of a text-to-image pipeline: found the module '" +
                                    peft::module_of(adapter.adapter.updates.front()) + "', expected those of " +
                                    join(weights.components()));
    }
    peft::settle_start(adapter.adapter, [&](const std::string& module) { return weights.tensor(module + ".weight"); });
  }
  return adapters;
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

/// The base and the result of a merge.
class PipelineMerge {
 public:
  PipelineMerge(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters)
      : model_(model), pipeline_({.path = model.path}), weights_(pipeline_) {
    const peft::BaseReference reference(model.name, request.unmerge ? "" : weights_.fingerprint(), request.allow_other_base);
    for (const peft::WeightedAdapter& adapter : adapters) {
      peft::require_same_base(adapter.name, adapter.adapter.base_fingerprint, reference);
    }
    plan_ = peft::plan_merge(layout_of(weights_), settled_pipeline(weights_, adapters), request.unmerge);
    for (const peft::MergedTensor& tensor : plan_.tensors) {
      if (tensor.is_changed()) {
        changed_.insert(peft::component_of(tensor.name));
      }
    }
  }

  void write(const fs::path& folder, int64_t max_shard_size) const {
    for (const fs::directory_entry& entry : fs::directory_iterator(model_.path)) {
      const std::string name = entry.path().filename().string();
      if (changed_.count(name) > 0) {
        write_component(folder / name, name, max_shard_size);
      } else if (name == kPipelineIndex || (entry.is_directory() && pipeline_.has(name))) {
        fs::copy(entry.path(), folder / name, fs::copy_options::recursive);  // links of a hub's cache become files
        if (entry.is_directory()) {
          settle_variant(folder / name);
        }
      }
    }
  }

  std::string summary() const {
    const auto count = std::count_if(plan_.tensors.begin(), plan_.tensors.end(), [](const auto& tensor) { return tensor.is_changed(); });
    return counted(count, "tensor") + " of " + join({changed_.begin(), changed_.end()});
  }

 private:
  void write_component(const fs::path& folder, const std::string& component, int64_t max_shard_size) const {
    fs::create_directories(folder);
    std::vector<io::TensorStream> streams;
    for (const peft::MergedTensor& tensor : plan_.tensors) {
      if (peft::component_of(tensor.name) == component) {
        streams.push_back(stream(tensor, component));
      }
    }
    Json config = pipeline_.config(component).json;
    for (const char* key : {"torch_dtype", "dtype"}) {
      if (config.contains(key) && model_.dtype != models::ComputeDtype::kAuto) {
        config[key] = std::string(models::kComputeDtypes.name(model_.dtype));
      }
    }
    write_file_atomically(folder / "config.json", config.dump(2) + "\n");
    io::write_checkpoint(folder, streams, max_shard_size, component == pipeline_.network() ? "diffusion_pytorch_model" : "model");
  }

  io::TensorStream stream(const peft::MergedTensor& tensor, const std::string& component) const {
    const at::ScalarType own = weights_.facts(tensor.source).dtype;
    const at::ScalarType dtype = tensor.is_float ? models::scalar_type(model_.dtype).value_or(own) : own;
    return {tensor.name.substr(component.size() + 1), dtype, tensor.shape, [this, &tensor, dtype](const auto& append) {
              append_merged(tensor, dtype, weights_.tensor(tensor.source), append, [&] { weights_.release(tensor.source); });
            }};
  }

  const models::ModelOptions& model_;
  diffusion::Pipeline pipeline_;
  PipelineWeights weights_;
  peft::MergePlan plan_;
  std::set<std::string> changed_;  ///< components
};

}  // namespace

void merge_pipeline(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  require_pipeline_flags(request);
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  require_new_folder(request.output, inputs, request.overwrite);
  const PipelineMerge merge(request, model, adapters);
  write_new_folder(request.output, [&](const fs::path& folder) { merge.write(folder, request.max_shard_size); });
  log::end_progress();
  log::info("wrote " + request.output.string() + ": " + merge.summary() + (request.unmerge ? " unmerged" : " merged"));
}

}  // namespace lora::app
