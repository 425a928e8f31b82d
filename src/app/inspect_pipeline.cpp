#include "app/inspect_pipeline.h"

#include "app/inspect_tensors.h"
#include "app/pipeline_weights.h"
#include "app/text_table.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/diffusion/training_schedule.h"

namespace lora::app {

namespace {

std::vector<TensorFacts> tensors_of(const io::Checkpoint& weights) {
  std::vector<TensorFacts> tensors;
  for (const std::string& name : weights.names()) {
    const io::TensorFacts facts = weights.facts(name);
    tensors.push_back({name, facts.stored_as, facts.shape, facts.bytes});
  }
  return tensors;
}

/// What model_index.json says of a component, and its weights, if it has any.
Json component_facts(const diffusion::Pipeline& pipeline, const std::string& name, const Json& entry) {
  Json facts{{"component", name}, {"class", entry[1]}, {"files", Json::array()}, {"num_parameters", 0}, {"size", 0}};
  const bool has_weights = name == pipeline.network() || name == diffusion::kVae || name.starts_with("text_encoder");
  if (!has_weights) {
    return facts;
  }
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(name);
  const std::vector<TensorFacts> tensors = tensors_of(*weights);
  int64_t size = 0;
  for (const fs::path& file : weights->files()) {
    facts["files"].push_back(file.filename().string());
    size += static_cast<int64_t>(fs::file_size(file));
  }
  facts["num_parameters"] = num_parameters(tensors);
  facts["size"] = size;
  facts["dtypes"] = dtype_counts(tensors);
  if (name != diffusion::kVae) {
    int64_t linears = 0, convolutions = 0;
    for (const std::string& module : adaptable_modules(*weights)) {
      ++(weights->facts(module + ".weight").shape.size() == 2 ? linears : convolutions);
    }
    facts["num_linears"] = linears;
    facts["num_convolutions"] = convolutions;
  }
  return facts;
}

}  // namespace

std::string family_name(const diffusion::Pipeline& pipeline) {
  switch (pipeline.family()) {
    case diffusion::PipelineFamily::kStableDiffusion:
      return pipeline.is_version_2() ? "Stable Diffusion 2" : "Stable Diffusion 1";
    case diffusion::PipelineFamily::kStableDiffusionXl:
      return "Stable Diffusion XL";
    case diffusion::PipelineFamily::kStableDiffusion3:
      return "Stable Diffusion 3";
    case diffusion::PipelineFamily::kFlux:
      break;
  }
  return "FLUX.1";
}

Json pipeline_folder_facts(const std::filesystem::path& folder) {
  const diffusion::Pipeline pipeline({.path = folder});
  const Json index = read_json(folder / "model_index.json", ErrorKind::kModel);
  Json components = Json::array();
  int64_t parameters = 0, size = 0;
  for (const auto& [name, entry] : index.items()) {
    if (pipeline.has(name)) {
      components.push_back(component_facts(pipeline, name, entry));
      parameters += components.back()["num_parameters"].get<int64_t>();
      size += components.back()["size"].get<int64_t>();
    }
  }
  Json facts{{"kind", "pipeline"},
             {"path", folder.string()},
             {"class", index.value("_class_name", Json(nullptr))},
             {"family", family_name(pipeline)},
             {"prediction_type", nullptr},
             {"num_parameters", parameters},
             {"size", size},
             {"components", components}};
  if (pipeline.has(diffusion::kScheduler)) {
    const diffusion::ComponentConfig scheduler = pipeline.config(diffusion::kScheduler);
    const bool is_flow = diffusion::is_flow_matching(scheduler.reader());
    facts["prediction_type"] = is_flow ? Json("flow_matching") : scheduler.json.value("prediction_type", Json("epsilon"));
  }
  return facts;
}

std::string pipeline_folder_text(const Json& facts, bool) {
  std::string text = "pipeline     " + facts["path"].get<std::string>() + "\nfamily       " + facts["family"].get<std::string>() + " (" +
                     shown(facts["class"]) + ")\n";
  text += facts["prediction_type"].is_null() ? "" : "predicts     " + shown(facts["prediction_type"]) + "\n";
  text += "size         " + with_thousands(facts["num_parameters"].get<int64_t>()) + " parameters, " +
          human_bytes(facts["size"].get<int64_t>()) + "\n\n";
  TextTable table;
  table.add({"component", "class", "parameters", "size", "stored as", "Linear", "Conv2d"});
  for (const Json& component : facts["components"]) {
    const auto number = [&component](const char* key) { return component.contains(key) ? component[key].dump() : std::string(); };
    const auto size = component["size"].get<int64_t>();
    table.add({component["component"].get<std::string>(), shown(component["class"]),
               size > 0 ? with_thousands(component["num_parameters"].get<int64_t>()) : "", size > 0 ? human_bytes(size) : "",
               component.contains("dtypes") ? dtype_text(component["dtypes"]) : "", number("num_linears"), number("num_convolutions")});
  }
  return text + table.text() + "Linear and Conv2d: the modules of these kinds, which LoRA can adapt\n";
}

}  // namespace lora::app
