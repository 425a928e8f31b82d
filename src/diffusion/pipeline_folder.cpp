#include <algorithm>
#include <array>

#include "diffusion/component_folder.h"
#include "diffusion/pipeline_layout.h"
#include "lora/base/bundle.h"
#include "lora/base/enum_table.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::diffusion {

namespace {

/// diffusers' classes.
constexpr EnumTable<PipelineFamily, 4> kPipelineClasses{{{{PipelineFamily::kStableDiffusion, "StableDiffusionPipeline"},
                                                          {PipelineFamily::kStableDiffusionXl, "StableDiffusionXLPipeline"},
                                                          {PipelineFamily::kStableDiffusion3, "StableDiffusion3Pipeline"},
                                                          {PipelineFamily::kFlux, "FluxPipeline"}}}};

constexpr const char* kIndexName = "model_index.json";

PipelineFamily named_family(const JsonReader& index) {
  const std::string name = index.string("_class_name");
  const auto family = kPipelineClasses.find(name);
  if (!family) {
    model_error(index.where() + ": _class_name",
                "unknown pipeline: found '" + printable(name) + "', expected one of " + join(kPipelineClasses.names()));
  }
  return *family;
}

class PipelineFolder : public PipelineLayout {
 public:
  explicit PipelineFolder(const PipelineOptions& options)
      : folder_(options.path), variant_(options.variant), index_file_((folder_ / kIndexName).string()) {
    if (!is_file(index_file_)) {
      model_error(folder_.string(),
                  "has no model_index.json, expected the folder of a pipeline in diffusers' layout or a .safetensors file");
    }
    index_ = read_json(index_file_, ErrorKind::kModel);
    const JsonReader reader(index_, index_file_, ErrorKind::kModel);
    family_ = named_family(reader);
    forces_zeros_ = family_ == PipelineFamily::kStableDiffusionXl && reader.boolean("force_zeros_for_empty_prompt", true);
  }

  PipelineFamily family() const override { return family_; }
  bool forces_zeros_for_empty_prompt() const override { return forces_zeros_; }

  /// [library, class], or [null, null] for a component that was left out.
  bool has(const std::string& component) const override {
    const auto found = index_.find(component);
    return found != index_.end() && found->is_array() && found->size() == 2 && !(*found)[1].is_null();
  }

  ComponentConfig config(const std::string& component) const override { return read_component_config(folder_of(component)); }
  std::unique_ptr<io::Checkpoint> weights(const std::string& component) const override {
    return open_component_weights(folder_of(component));
  }
  fs::path tokenizer_folder(const std::string& component) const override { return folder_of(component).path; }
  std::vector<fs::path> config_files(const std::string& component) const override { return {config_file(folder_of(component))}; }

 private:
  ComponentFolder folder_of(const std::string& component) const {
    if (!has(component)) {
      model_error(index_file_, "names no " + component + ", expected [library, class] under this key");
    }
    const ComponentFolder folder{folder_ / component, component, variant_};
    if (!is_folder(folder.path)) {
      model_error(folder.path.string(), "is missing, but model_index.json names it. Likely cause: an incomplete download.");
    }
    return folder;
  }

  fs::path folder_;
  std::string variant_;
  std::string index_file_;
  Json index_;
  PipelineFamily family_ = PipelineFamily::kStableDiffusion;
  bool forces_zeros_ = false;
};

}  // namespace

PipelineFamily family_of_folder(const fs::path& folder) {
  const Json index = read_json(folder / kIndexName, ErrorKind::kModel);
  return named_family(JsonReader(index, (folder / kIndexName).string(), ErrorKind::kModel));
}

std::unique_ptr<PipelineLayout> open_pipeline_folder(const PipelineOptions& options) {
  return std::make_unique<PipelineFolder>(options);
}

}  // namespace lora::diffusion
