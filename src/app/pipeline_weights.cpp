#include "app/pipeline_weights.h"

#include <utility>

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

std::string within(const std::string& component, const std::string& name) {
  return name.substr(component.size() + 1);
}

}  // namespace

bool is_pipeline(const std::filesystem::path& path) {
  return is_folder(path) ? is_file(path / "model_index.json") : path.extension() == ".safetensors" && is_file(path);
}

PipelineWeights::PipelineWeights(const diffusion::Pipeline& pipeline) : Checkpoint(pipeline.path()) {
  std::vector<std::string> all{pipeline.network()};
  const std::vector<std::string> encoders = pipeline.text_encoders();
  all.insert(all.end(), encoders.begin(), encoders.end());
  for (const std::string& component : all) {
    if (pipeline.has(component)) {
      parts_.emplace(component, pipeline.weights(component));
      components_.push_back(component);
    }
  }
}

const io::Checkpoint& PipelineWeights::part_of(const std::string& name) const {
  const auto found = parts_.find(peft::component_of(name));
  if (found == parts_.end()) {
    no_such_tensor(name);
  }
  return *found->second;
}

bool PipelineWeights::contains(const std::string& name) const {
  const auto found = parts_.find(peft::component_of(name));
  return found != parts_.end() && found->second->contains(within(found->first, name));
}

std::vector<std::string> PipelineWeights::names() const {
  std::vector<std::string> names;
  for (const std::string& component : components_) {
    for (const std::string& name : parts_.at(component)->names()) {
      names.push_back(component + "." + name);
    }
  }
  return names;
}

io::TensorFacts PipelineWeights::facts(const std::string& name) const {
  return part_of(name).facts(within(peft::component_of(name), name));
}

io::StoredWeight PipelineWeights::stored(const std::string& name) const {
  return part_of(name).stored(within(peft::component_of(name), name));
}

void PipelineWeights::release(const std::string& name) const {
  part_of(name).release(within(peft::component_of(name), name));
}

std::string PipelineWeights::fingerprint() const {
  return parts_.at(components_.front())->fingerprint();
}

std::vector<std::filesystem::path> PipelineWeights::files() const {
  std::vector<std::filesystem::path> files;
  for (const std::string& component : components_) {
    const std::vector<std::filesystem::path> own = parts_.at(component)->files();
    files.insert(files.end(), own.begin(), own.end());
  }
  return files;
}

std::vector<std::string> adaptable_modules(const io::Checkpoint& weights) {
  constexpr std::string_view kEnd = ".weight";
  std::vector<std::string> modules;
  for (const std::string& name : weights.names()) {
    if (name.ends_with(kEnd) && name.find(".embeddings.") == std::string::npos && weights.facts(name).shape.size() >= 2) {
      modules.push_back(name.substr(0, name.size() - kEnd.size()));
    }
  }
  return modules;
}

peft::ExtractionTargets pipeline_targets(const io::Checkpoint& weights, const std::vector<std::string>& names) {
  const bool all_linear = names.empty() || (names.size() == 1 && names.front() == "all-linear");
  std::vector<std::string> unmatched = all_linear ? std::vector<std::string>() : names;
  peft::ExtractionTargets targets;
  for (const std::string& module : adaptable_modules(weights)) {
    bool is_target = all_linear && weights.facts(module + ".weight").shape.size() == 2;
    for (const std::string& name : names) {
      if (module == name || module.ends_with("." + name)) {
        is_target = true;
        std::erase(unmatched, name);
      }
    }
    if (is_target) {
      targets.linears.push_back(module);
    }
  }
  if (!unmatched.empty()) {
    config_error("--target-modules", "matches no module of the pipeline: found '" + unmatched.front() +
                                         "', expected names or ends of names of linear modules and convolutions, or all-linear");
  }
  return targets;
}

peft::BaseFacts pipeline_facts(const diffusion::Pipeline& pipeline, const PipelineWeights& weights, const std::string& name) {
  peft::BaseFacts facts{name, pipeline.config(pipeline.network()).json, adaptable_modules(weights)};
  if (pipeline.has(diffusion::kScheduler)) {
    facts.config["prediction_type"] = pipeline.config(diffusion::kScheduler).json.value("prediction_type", Json("epsilon"));
  }
  return facts;
}

}  // namespace lora::app
