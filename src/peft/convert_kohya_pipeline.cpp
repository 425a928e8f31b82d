// kohya's adapters of a pipeline (sd-scripts, networks/lora.py, lora_sd3.py and lora_flux.py), which AUTOMATIC1111 and ComfyUI read: as for
// language models, with a prefix for each component. Stable Diffusion 1 and 2 have diffusers' names of modules; SDXL's UNet and the
// transformers of Stable Diffusion 3 and FLUX.1 have those of the code that they were trained with.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "lora/base/error.h"
#include "lora/io/safetensors.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/adapter_config.h"
#include "peft/format_entry.h"
#include "peft/fused_pairs.h"
#include "peft/network_family.h"
#include "peft/pair_parts.h"
#include "peft/unet_names.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

/// What kohya's metadata says of a family.
struct FamilyNames {
  std::string base_version;  ///< ss_base_model_version
  std::string architecture;  ///< modelspec.architecture, before "/lora"
  std::string implementation = "diffusers";
  std::string resolution = "1024x1024";
  std::string prediction = "epsilon";  ///< empty: the metadata does not say it
  std::string network_module = "networks.lora";
};

FamilyNames names_of_version_3(const BaseFacts& base, const std::string& where) {
  if (!base.is_known()) {
    model_error(where, "its modules do not show which Stable Diffusion 3 the base is, for kohya's metadata. Give the base's folder with "
                       "--model.");
  }
  const JsonReader config(base.config, base.name, ErrorKind::kModel);
  const bool has_second_attention = config.has("dual_attention_layers") && !config.at("dual_attention_layers").empty();
  const std::string version = config.is_null("qk_norm") ? "3-medium" : has_second_attention ? "3-5-medium" : "3-5-large";
  FamilyNames names{version, "stable-diffusion-3-" + version};
  names.network_module = "networks.lora_sd3";
  return names;
}

FamilyNames names_of_flux(const BaseFacts& base) {
  const bool takes_guidance = base.is_known() && base.config.value("guidance_embeds", false);
  FamilyNames names{"flux1", !base.is_known() ? "flux-1" : takes_guidance ? "flux-1-dev" : "flux-1-schnell"};
  names.implementation = "https://github.com/black-forest-labs/flux";
  names.prediction = "";
  names.network_module = "networks.lora_flux";
  return names;
}

FamilyNames metadata_names(NetworkFamily family, const BaseFacts& base, const std::string& where) {
  const bool predicts_velocity = base.is_known() && base.config.value("prediction_type", Json("")) == "v_prediction";
  switch (family) {
    case NetworkFamily::kVersion1:
      break;
    case NetworkFamily::kVersion2:
      return predicts_velocity ? FamilyNames{"sd_v2_v", "stable-diffusion-v2-768-v", "diffusers", "768x768", "v"}
                               : FamilyNames{"sd_v2", "stable-diffusion-v2-512", "diffusers", "512x512"};
    case NetworkFamily::kXl:
      return {"sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "https://github.com/Stability-AI/generative-models", "1024x1024",
              predicts_velocity ? "v" : "epsilon"};
    case NetworkFamily::kVersion3:
      return names_of_version_3(base, where);
    case NetworkFamily::kFlux:
      return names_of_flux(base);
  }
  return {"sd_v1", "stable-diffusion-v1", "diffusers", "512x512"};
}

const std::string kOfTransformer = "transformer.";

struct PipelineEnd {
  std::string_view text;
  PairPart part;
};
constexpr std::array<PipelineEnd, 4> kPipelineEnds{{{".lora_down.weight", PairPart::kDown},
                                                    {".lora_up.weight", PairPart::kUp},
                                                    {".alpha", PairPart::kAlpha},
                                                    {".dora_scale", PairPart::kMagnitude}}};

std::string underscored(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

/// From kohya's names to names in the pipeline: in both numberings of a UNet's blocks, and with both prefixes of the first text encoder.
/// Modules of transformers keep their original names.
std::map<std::string, std::string> all_pipeline_names() {
  std::map<std::string, std::string> names;
  for (const std::string& module : unet_modules()) {
    const std::string original = original_unet_name(module);
    names.emplace("lora_unet_" + underscored(module), "unet." + module);
    if (!original.empty()) {
      names.emplace("lora_unet_" + underscored(original), "unet." + module);
    }
  }
  for (const std::string& module : clip_text_modules()) {
    names.emplace("lora_te_" + underscored(module), "text_encoder." + module);
    names.emplace("lora_te1_" + underscored(module), "text_encoder." + module);
    names.emplace("lora_te2_" + underscored(module), "text_encoder_2." + module);
  }
  for (const std::vector<OriginalModule>* modules : {&flux_modules(), &sd3_modules()}) {
    for (const OriginalModule& module : *modules) {
      names.emplace("lora_unet_" + underscored(module.name), kOfTransformer + module.name);
    }
  }
  return names;
}

const std::map<std::string, std::string>& pipeline_names() {
  static const std::map<std::string, std::string> kNames = all_pipeline_names();
  return kNames;
}

ParsedKey parse_pipeline_key(const std::string& key) {
  for (const PipelineEnd& end : kPipelineEnds) {
    if (key.ends_with(end.text)) {
      const auto found = pipeline_names().find(key.substr(0, key.size() - end.text.size()));
      return found == pipeline_names().end() ? ParsedKey{} : ParsedKey{found->second, end.part};
    }
  }
  return {};
}

/// @param name in the pipeline; of a transformer's module the original one.
std::string kohya_name(const std::string& name, NetworkFamily family, const std::string& where) {
  const std::string component = name.substr(0, name.find('.'));
  const std::string module = name.substr(component.size() + 1);
  if (component == "transformer") {
    return "lora_unet_" + underscored(module);
  }
  if (component == "unet") {
    const std::string written = family == NetworkFamily::kXl ? original_unet_name(module) : module;
    if (written.empty()) {
      model_error(where, "has a module that SDXL's UNet does not have: found '" + name + "'. Likely cause: an adapter of another base.");
    }
    return "lora_unet_" + underscored(written);
  }
  const bool has_one_encoder = family == NetworkFamily::kVersion1 || family == NetworkFamily::kVersion2;
  return (component == "text_encoder_2" ? "lora_te2_" : has_one_encoder ? "lora_te_" : "lora_te1_") + underscored(module);
}

/// One value, or "Dynamic".
std::string common_number(const std::set<std::string>& values) {
  return values.size() == 1 ? *values.begin() : "Dynamic";
}

/// The six keys that sd-scripts always keeps. Convolutions with a kernel larger than 1 have a rank of their own there (conv_dim).
std::map<std::string, std::string> training_metadata(const Adapter& adapter, NetworkFamily family, const FamilyNames& names) {
  std::set<std::string> ranks, alphas, kernel_ranks, kernel_alphas;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    const bool has_kernel = std::any_of(update.kernel.begin(), update.kernel.end(), [](int64_t size) { return size > 1; });
    (has_kernel ? kernel_ranks : ranks).insert(std::to_string(update.rank()));
    (has_kernel ? kernel_alphas : alphas).insert(number_json(plain_alpha(update)).dump());
  }
  std::map<std::string, std::string> metadata{{"ss_network_module", names.network_module},
                                              {"ss_base_model_version", names.base_version},
                                              {"ss_v2", family == NetworkFamily::kVersion2 ? "True" : "False"},
                                              {"ss_network_dim", common_number(ranks.empty() ? kernel_ranks : ranks)},
                                              {"ss_network_alpha", common_number(ranks.empty() ? kernel_alphas : alphas)}};
  if (!kernel_ranks.empty()) {
    const Json arguments{{"conv_dim", common_number(kernel_ranks)}, {"conv_alpha", common_number(kernel_alphas)}};
    metadata["ss_network_args"] = arguments.dump();
  }
  return metadata;
}

/// Stability's description of a model (github.com/Stability-AI/ModelSpec), without the date, so that equal adapters are equal files.
std::map<std::string, std::string> model_spec(const fs::path& file, const FamilyNames& names) {
  std::map<std::string, std::string> metadata{{"modelspec.sai_model_spec", "1.0.1"},
                                              {"modelspec.architecture", names.architecture + "/lora"},
                                              {"modelspec.implementation", names.implementation},
                                              {"modelspec.title", file.stem().string()},
                                              {"modelspec.resolution", names.resolution}};
  if (!names.prediction.empty()) {
    metadata["modelspec.prediction_type"] = names.prediction;
  }
  return metadata;
}

/// The hashes that sd-scripts stores, of a file that has only metadata beginning with "ss_": those of AUTOMATIC1111's additional-networks
/// extension (of all tensors) and of its early versions (of 64 KiB at 1 MiB).
std::map<std::string, std::string> hashes_of(const fs::path& file) {
  constexpr size_t kBegin = 0x100000, kSize = 0x10000;
  const MappedFile bytes(file, ErrorKind::kOutput);
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view legacy = all.size() > kBegin ? all.substr(kBegin, kSize) : std::string_view();
  return {{"sshs_model_hash", sha256(all.substr(io::parse_header(all, file.string()).data_offset))},
          {"sshs_legacy_hash", sha256(legacy).substr(0, 8)}};
}

/// A magnitude with an axis for each of the weight's.
Tensor dora_scale(const LowRankUpdate& update) {
  std::vector<int64_t> shape(weight_shape(update).size(), 1);
  shape.front() = update.B_OR.size(0);
  return update.magnitude_O->view(shape);
}

std::vector<io::NamedTensor> named_pairs(const Adapter& adapter, NetworkFamily family, at::ScalarType dtype) {
  std::vector<io::NamedTensor> tensors;
  const std::string where = adapter.weights_file.string();
  const std::vector<LowRankUpdate> updates =
      with_original_modules(adapter.low_rank(), family == NetworkFamily::kVersion3 ? sd3_modules() : flux_modules(), where);
  for (const LowRankUpdate& update : rounded(updates, dtype)) {
    const std::string name = kohya_name(update.module, family, where);
    const FilePair pair = file_pair(update);
    tensors.push_back({name + ".lora_down.weight", pair.A});
    tensors.push_back({name + ".lora_up.weight", pair.B});
    tensors.push_back({name + ".alpha", at::scalar_tensor(plain_alpha(update), dtype)});
    if (update.magnitude_O) {
      tensors.push_back({name + ".dora_scale", dora_scale(update)});
    }
  }
  return tensors;
}

}  // namespace

bool is_kohya_pipeline(const fs::path& file) {
  return has_known_key(file, parse_pipeline_key);
}

std::string kohya_pipeline_refusal(const LowRankUpdate& update, const BaseFacts&) {
  const std::string component = component_of(update.module);
  const std::string module = update.module.substr(component.size() + 1);
  if (component == "transformer" && update.magnitude_O) {
    return "transformers with DoRA magnitudes (lora-convert --bake --r R --model D turns them into plain LoRA)";
  }
  const auto is_among = [&module](const std::vector<std::string>& known) {
    return std::find(known.begin(), known.end(), module) != known.end();
  };
  const bool is_known = component == "unet"          ? is_among(unet_modules())
                        : component == "transformer" ? is_part_of(module, flux_modules()) || is_part_of(module, sd3_modules())
                        : component == "text_encoder" || component == "text_encoder_2" ? is_among(clip_text_modules())
                                                                                       : false;
  return is_known ? ""
                  : "modules for which kohya's format has no name here (UNets, the transformers of Stable Diffusion 3 and FLUX.1, and "
                    "CLIP text encoders have them)";
}

Adapter read_kohya_pipeline(const fs::path& path, const BaseFacts&) {
  Adapter adapter;
  adapter.weights_file = path;
  adapter.config = Json::object();
  const io::SafetensorsFile file(path);
  for (const auto& [key, value] : file.metadata()) {
    adapter.config[key] = value;
  }
  for (const auto& [module, parts] :
       read_parts(path, parse_pipeline_key,
                  "modules of a UNet, a transformer or a CLIP text encoder, such as lora_unet_<module>.lora_down.weight")) {
    const LowRankUpdate stored = update_of_parts(module, parts, path.string() + ": module '" + module + "'");
    for (LowRankUpdate& update : with_parts(stored, path.string())) {
      adapter.updates.emplace_back(std::move(update));
    }
  }
  adapter.options.use_dora = std::any_of(adapter.updates.begin(), adapter.updates.end(), [](const AdapterUpdate& update) {
    return std::get<LowRankUpdate>(update).magnitude_O.has_value();
  });
  return adapter;
}

void write_kohya_pipeline(const fs::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  const NetworkFamily family = family_of(adapter, base);
  const FamilyNames names = metadata_names(family, base, adapter.weights_file.string());
  const std::vector<io::NamedTensor> tensors = named_pairs(adapter, family, options.dtype);
  std::map<std::string, std::string> metadata = training_metadata(adapter, family, names);
  io::save_tensors(file, tensors, metadata);
  metadata.merge(hashes_of(file));
  metadata.merge(model_spec(file, names));
  metadata.emplace("format", "pt");
  io::save_tensors(file, tensors, metadata);
}

}  // namespace lora::peft
