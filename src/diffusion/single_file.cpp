#include <algorithm>
#include <array>
#include <optional>

#include "diffusion/component_folder.h"
#include "diffusion/component_names.h"
#include "diffusion/family_configs.h"
#include "diffusion/ldm_names.h"
#include "diffusion/pipeline_layout.h"
#include "diffusion/viewed_checkpoint.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/io/tensors.h"

namespace lora::diffusion {

namespace {

constexpr const char* kUnetPrefix = "model.diffusion_model.";

/// Where the tensors of a component are in a single file.
struct Part {
  SingleFileModel model;
  const char* component;
  const char* prefix;
  bool is_open_clip = false;
};
constexpr std::array<Part, 10> kParts{{
    {SingleFileModel::kStableDiffusion1, kUnet, kUnetPrefix},
    {SingleFileModel::kStableDiffusion1, kVae, "first_stage_model."},
    {SingleFileModel::kStableDiffusion1, "text_encoder", "cond_stage_model.transformer."},
    {SingleFileModel::kStableDiffusion2, kUnet, kUnetPrefix},
    {SingleFileModel::kStableDiffusion2, kVae, "first_stage_model."},
    {SingleFileModel::kStableDiffusion2, "text_encoder", "cond_stage_model.model.", true},
    {SingleFileModel::kStableDiffusionXl, kUnet, kUnetPrefix},
    {SingleFileModel::kStableDiffusionXl, kVae, "first_stage_model."},
    {SingleFileModel::kStableDiffusionXl, "text_encoder", "conditioner.embedders.0.transformer."},
    {SingleFileModel::kStableDiffusionXl, "text_encoder_2", "conditioner.embedders.1.model.", true},
}};

bool has_prefix(const io::Checkpoint& stored, const std::string& prefix) {
  const std::vector<std::string> names = stored.names();
  return std::any_of(names.begin(), names.end(), [&prefix](const std::string& name) { return name.starts_with(prefix); });
}

/// What a file without a UNet seems to be, for the message.
std::string what_it_seems(const io::Checkpoint& stored) {
  const std::vector<std::string> names = stored.names();
  const auto holds = [&names](const char* text) {
    return std::any_of(names.begin(), names.end(), [text](const std::string& name) { return name.find(text) != std::string::npos; });
  };
  if (holds("lora_") || holds(".lora.")) {
    return "an adapter";
  }
  if (holds("double_blocks.")) {
    return "a FLUX transformer";
  }
  if (holds("joint_blocks.")) {
    return "a Stable Diffusion 3 transformer";
  }
  return holds("down_blocks.") ? "a component of a pipeline in diffusers' layout"
                               : "tensors of another model (" + io::some_names(names) + ")";
}

/// Decides by names and shapes, as diffusers does. Throws model Error for anything that is not one of the models.
SingleFileModel recognise(const io::Checkpoint& stored, const std::string& where) {
  const std::string unet = kUnetPrefix;
  const std::string first = unet + "input_blocks.0.0.weight";
  if (!stored.contains(first)) {
    model_error(where, "found " + what_it_seems(stored) + ", expected a checkpoint of Stable Diffusion 1.x, 2.x or XL (tensors " + unet +
                           "…). Use the folder in diffusers' layout of any other pipeline.");
  }
  const std::vector<int64_t> conv_in = stored.facts(first).shape;
  if (conv_in.size() != 4 || conv_in[1] != 4) {
    model_error(where + ": tensor '" + first + "'",
                "found shape " + io::shape_text(conv_in) + ", expected 4 input channels. Likely cause: a model for inpainting, "
                    "upscaling or editing, which is not supported.");
  }
  if (stored.contains("edm_mean") || has_prefix(stored, "conditioner.embedders.0.model.")) {
    model_error(where, std::string("found ") + (stored.contains("edm_mean") ? "a model of Playground's (EDM)" : "SDXL's refiner") +
                           ", expected a base model of Stable Diffusion 1.x, 2.x or XL");
  }
  const bool has_label = stored.contains(unet + "label_emb.0.0.weight");
  const bool has_4_blocks = stored.contains(unet + "output_blocks.11.0.skip_connection.weight");
  if (has_label && !has_4_blocks && stored.contains(unet + "output_blocks.8.0.skip_connection.weight")) {
    return SingleFileModel::kStableDiffusionXl;
  }
  const std::string projection = unet + "input_blocks.1.1.proj_in.weight";
  if (has_label || !has_4_blocks || !stored.contains(projection)) {
    model_error(where, "found a UNet that is neither Stable Diffusion 1.x's, 2.x's nor XL's. Use its folder in diffusers' layout.");
  }
  return stored.facts(projection).shape.size() == 2 ? SingleFileModel::kStableDiffusion2 : SingleFileModel::kStableDiffusion1;
}

class SingleFile : public PipelineLayout {
 public:
  explicit SingleFile(const PipelineOptions& options)
      : file_(options.path),
        config_folder_(options.config),
        stored_(std::make_shared<io::SafetensorsCheckpoint>(
            file_.has_parent_path() ? file_.parent_path() : fs::path("."), io::WeightFileNames{file_.filename().string(), ""})),
        model_(recognise(*stored_, file_.string())) {
    if (!config_folder_.empty()) {
      check_config_folder();
    }
  }

  PipelineFamily family() const override {
    return model_ == SingleFileModel::kStableDiffusionXl ? PipelineFamily::kStableDiffusionXl : PipelineFamily::kStableDiffusion;
  }
  bool forces_zeros_for_empty_prompt() const override { return model_ == SingleFileModel::kStableDiffusionXl; }

  bool has(const std::string& component) const override {
    const Part* const part = part_of(component);
    return part != nullptr ? has_prefix(*stored_, part->prefix) : component == kScheduler || has_tokenizer(component);
  }
  ComponentConfig config(const std::string& component) const override;
  std::vector<TensorView> views(const std::string& component) const override;
  std::unique_ptr<io::Checkpoint> weights(const std::string& component) const override {
    return std::make_unique<ViewedCheckpoint>(file_, stored_, views(component));
  }
  fs::path tokenizer_folder(const std::string& component) const override;
  std::vector<fs::path> config_files(const std::string& component) const override {
    const fs::path file = own_config(component);
    return is_file(file) ? std::vector{file} : std::vector<fs::path>{};
  }

 private:
  /// It may hold only the tokenizers. If it is a whole pipeline, its configs are used too and must be the family's.
  void check_config_folder() const {
    if (!is_folder(config_folder_)) {
      model_error(config_folder_.string(), "there is no such folder, expected one in diffusers' layout (model.tokenizer)");
    }
    if (is_file(config_folder_ / "model_index.json") && family_of_folder(config_folder_) != family()) {
      model_error(config_folder_.string(),
                  "is a pipeline of another family than " + file_.string() + ", expected one of the same (model.tokenizer)");
    }
  }
  const Part* part_of(const std::string& component) const {
    const auto found = std::find_if(kParts.begin(), kParts.end(), [&](const Part& part) {
      return part.model == model_ && component == part.component;
    });
    return found == kParts.end() ? nullptr : &*found;
  }
  /// The file of the config folder, which need not exist; empty without such a folder.
  fs::path own_config(const std::string& component) const {
    return config_folder_.empty() ? fs::path() : config_file({config_folder_ / component, component, ""});
  }
  bool has_tokenizer(const std::string& component) const {
    return component.starts_with("tokenizer") && !config_folder_.empty() && is_folder(config_folder_ / component);
  }
  std::optional<std::string> stored_prediction_type() const;

  fs::path file_;
  fs::path config_folder_;
  std::shared_ptr<io::SafetensorsCheckpoint> stored_;
  SingleFileModel model_;
};

/// What the file says of itself: the metadata of Stability's specification, or the marker tensors of models that were trained on.
std::optional<std::string> SingleFile::stored_prediction_type() const {
  const io::SafetensorsFile file(file_);
  const auto found = file.metadata().find("modelspec.prediction_type");
  if (found != file.metadata().end() && (found->second == "epsilon" || found->second == "v")) {
    return found->second == "v" ? "v_prediction" : "epsilon";
  }
  if (file.contains("v_pred")) {
    return "v_prediction";
  }
  return model_ == SingleFileModel::kStableDiffusion2 ? std::nullopt : std::optional<std::string>("epsilon");
}

ComponentConfig SingleFile::config(const std::string& component) const {
  if (is_file(own_config(component))) {
    return read_component_config({config_folder_ / component, component, ""});
  }
  ComponentConfig config{family_config(model_, component), file_.string() + ": " + component};
  if (config.json.is_null()) {
    model_error(file_.string(), "has no " + component + ", expected a model that has one");
  }
  if (component == kScheduler) {
    if (const auto type = stored_prediction_type()) {
      config.json["prediction_type"] = *type;
    }
    if (stored_->contains("ztsnr")) {
      config.json["rescale_betas_zero_snr"] = true;
    }
  }
  return config;
}

std::vector<TensorView> SingleFile::views(const std::string& component) const {
  const Part* const part = part_of(component);
  if (part == nullptr || !has_prefix(*stored_, part->prefix)) {
    const std::string expected = part == nullptr ? "a model that has one" : std::string("tensors ") + part->prefix + "…";
    model_error(file_.string(), "has no " + component + ", expected " + expected);
  }
  const std::string prefix = part->prefix;
  std::vector<TensorView> views;
  if (part->is_open_clip) {
    const int64_t num_layers = config(component).reader().integer("num_hidden_layers");
    views = open_clip_views(*stored_, prefix, num_layers, /*with_projection=*/component == "text_encoder_2");
  } else if (component == kVae) {
    views = autoencoder_views(stored_->names(), prefix);
  } else {
    for (const std::string& name : stored_->names()) {
      if (name.starts_with(prefix)) {
        const std::string rest = name.substr(prefix.size());
        const std::string own = component == kUnet ? unet_name(rest) : current_name(component, rest);
        if (!own.empty()) {
          views.push_back({own, name});
        }
      }
    }
  }
  return views;
}

fs::path SingleFile::tokenizer_folder(const std::string& component) const {
  if (config_folder_.empty()) {
    model_error(file_.string(), "a single file has no tokenizer, expected a folder with " + component +
                                    "/ (vocab.json, merges.txt and their configs). Set model.tokenizer to the folder of a pipeline of "
                                    "this family in diffusers' layout.");
  }
  if (!has_tokenizer(component)) {
    model_error((config_folder_ / component).string(), "is missing, expected the folder of a tokenizer (model.tokenizer)");
  }
  return config_folder_ / component;
}

}  // namespace

std::unique_ptr<PipelineLayout> open_single_file(const PipelineOptions& options) {
  return std::make_unique<SingleFile>(options);
}

}  // namespace lora::diffusion
