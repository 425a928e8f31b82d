// kohya's adapters of a pipeline (sd-scripts, networks/lora.py), which AUTOMATIC1111 and ComfyUI read: as for language models, with a
// prefix for each component. Stable Diffusion 1 and 2 have diffusers' names of modules; SDXL's UNet has those of the code that it was
// trained with.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "lora/base/error.h"
#include "lora/io/safetensors.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/adapter_config.h"
#include "peft/format_entry.h"
#include "peft/pair_parts.h"
#include "peft/unet_names.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

enum class UnetFamily { kVersion1, kVersion2, kXl };

/// What kohya's metadata says of a family.
struct FamilyNames {
  const char* base_version;  ///< ss_base_model_version
  const char* architecture;  ///< modelspec.architecture, before "/lora"
  const char* implementation;
  const char* resolution;
};
constexpr const char* kDiffusersCode = "diffusers";
constexpr FamilyNames kNamesOf1{"sd_v1", "stable-diffusion-v1", kDiffusersCode, "512x512"};
constexpr FamilyNames kNamesOf2{"sd_v2", "stable-diffusion-v2-512", kDiffusersCode, "512x512"};
constexpr FamilyNames kNamesOf2Velocity{"sd_v2_v", "stable-diffusion-v2-768-v", kDiffusersCode, "768x768"};
constexpr FamilyNames kNamesOfXl{"sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "https://github.com/Stability-AI/generative-models",
                                 "1024x1024"};

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

/// What a module tells about the family: those of one have no place in another.
std::optional<UnetFamily> told_by(const LowRankUpdate& update) {
  const std::string& module = update.module;
  const auto has = [&module](const char* part) { return module.find(part) != std::string::npos; };
  const bool is_text_projection = has(".attn2.to_k") || has(".attn2.to_v");
  const int64_t text_channels = is_text_projection ? update.A_RI.size(1) : 0;
  if (has("text_encoder_2.") || has("add_embedding") || has("up_blocks.0.attentions") || text_channels == 2048 ||
      (has("transformer_blocks.") && !has("transformer_blocks.0."))) {
    return UnetFamily::kXl;
  }
  if (text_channels == 1024) {
    return UnetFamily::kVersion2;
  }
  const bool is_first = has("down_blocks.0.attentions") || has("up_blocks.2.attentions") || has("down_blocks.3.") || has("up_blocks.3.");
  return is_first || text_channels == 768 ? std::optional(UnetFamily::kVersion1) : std::nullopt;
}

/// A linear proj_in and 1024 text channels are those of version 2, whatever other modules tell.
bool is_of_version_2(const std::vector<LowRankUpdate>& updates) {
  return std::any_of(updates.begin(), updates.end(), [](const LowRankUpdate& update) {
    const bool is_projection = update.module.ends_with(".proj_in") || update.module.ends_with(".proj_out");
    return (is_projection && update.kernel.empty()) || told_by(update) == UnetFamily::kVersion2;
  });
}

/// Text encoders alone have the same names for 1 and 2.
std::optional<UnetFamily> told_by_modules(const Adapter& adapter) {
  const std::vector<LowRankUpdate> updates = adapter.low_rank();
  for (const LowRankUpdate& update : updates) {
    if (const std::optional<UnetFamily> family = told_by(update)) {
      return *family == UnetFamily::kVersion1 && is_of_version_2(updates) ? UnetFamily::kVersion2 : *family;
    }
  }
  return std::nullopt;
}

UnetFamily family_of(const Adapter& adapter, const BaseFacts& base) {
  if (base.is_known()) {
    const JsonReader config(base.config, base.name, ErrorKind::kModel);
    const bool is_xl = config.string("addition_embed_type", "") == "text_time";
    return is_xl ? UnetFamily::kXl : config.boolean("use_linear_projection", false) ? UnetFamily::kVersion2 : UnetFamily::kVersion1;
  }
  const std::optional<UnetFamily> family = told_by_modules(adapter);
  if (!family) {
    model_error(
        adapter.weights_file.string(),
        "its modules do not show whether the base is Stable Diffusion 1, 2 or XL, for which kohya names modules differently. Give the "
        "base's folder with --model.");
  }
  return *family;
}

std::string kohya_name(const std::string& name, UnetFamily family, const std::string& where) {
  const std::string component = component_of(name);
  const std::string module = name.substr(component.size() + 1);
  if (component == "unet") {
    const std::string written = family == UnetFamily::kXl ? original_unet_name(module) : module;
    if (written.empty()) {
      model_error(where, "has a module that SDXL's UNet does not have: found '" + name + "'. Likely cause: an adapter of another base.");
    }
    return "lora_unet_" + underscored(written);
  }
  const std::string first = family == UnetFamily::kXl ? "lora_te1_" : "lora_te_";
  return (component == "text_encoder" ? first : "lora_te2_") + underscored(module);
}

/// One value, or "Dynamic".
std::string common_number(const std::set<std::string>& values) {
  return values.size() == 1 ? *values.begin() : "Dynamic";
}

/// The six keys that sd-scripts always keeps. Convolutions with a kernel larger than 1 have a rank of their own there (conv_dim).
std::map<std::string, std::string> training_metadata(const Adapter& adapter, UnetFamily family, const FamilyNames& names) {
  std::set<std::string> ranks, alphas, kernel_ranks, kernel_alphas;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    const bool has_kernel = std::any_of(update.kernel.begin(), update.kernel.end(), [](int64_t size) { return size > 1; });
    (has_kernel ? kernel_ranks : ranks).insert(std::to_string(update.rank()));
    (has_kernel ? kernel_alphas : alphas).insert(number_json(plain_alpha(update)).dump());
  }
  std::map<std::string, std::string> metadata{{"ss_network_module", "networks.lora"},
                                              {"ss_base_model_version", names.base_version},
                                              {"ss_v2", family == UnetFamily::kVersion2 ? "True" : "False"},
                                              {"ss_network_dim", common_number(ranks.empty() ? kernel_ranks : ranks)},
                                              {"ss_network_alpha", common_number(ranks.empty() ? kernel_alphas : alphas)}};
  if (!kernel_ranks.empty()) {
    const Json arguments{{"conv_dim", common_number(kernel_ranks)}, {"conv_alpha", common_number(kernel_alphas)}};
    metadata["ss_network_args"] = arguments.dump();
  }
  return metadata;
}

/// Stability's description of a model (github.com/Stability-AI/ModelSpec), without the date, so that equal adapters are equal files.
std::map<std::string, std::string> model_spec(const fs::path& file, UnetFamily family, const FamilyNames& names, bool predicts_velocity) {
  return {{"modelspec.sai_model_spec", "1.0.1"},
          {"modelspec.architecture", std::string(names.architecture) + "/lora"},
          {"modelspec.implementation", names.implementation},
          {"modelspec.title", file.stem().string()},
          {"modelspec.resolution", names.resolution},
          {"modelspec.prediction_type", predicts_velocity && family != UnetFamily::kVersion1 ? "v" : "epsilon"}};
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

std::vector<io::NamedTensor> named_pairs(const Adapter& adapter, UnetFamily family, at::ScalarType dtype) {
  std::vector<io::NamedTensor> tensors;
  for (const LowRankUpdate& update : rounded(adapter.low_rank(), dtype)) {
    const std::string name = kohya_name(update.module, family, adapter.weights_file.string());
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

std::string pipeline_family(const Adapter& adapter) {
  const std::optional<UnetFamily> family = told_by_modules(adapter);
  return !family                            ? ""
         : *family == UnetFamily::kXl       ? "Stable Diffusion XL"
         : *family == UnetFamily::kVersion2 ? "Stable Diffusion 2"
                                            : "Stable Diffusion 1";
}

bool is_kohya_pipeline(const fs::path& file) {
  return has_known_key(file, parse_pipeline_key);
}

std::string kohya_pipeline_refusal(const LowRankUpdate& update, const BaseFacts&) {
  const std::string component = component_of(update.module);
  const bool is_unet = component == "unet", is_clip = component == "text_encoder" || component == "text_encoder_2";
  const std::vector<std::string>& known = is_unet ? unet_modules() : clip_text_modules();
  const bool is_known = std::find(known.begin(), known.end(), update.module.substr(component.size() + 1)) != known.end();
  return (is_unet || is_clip) && is_known ? ""
                                          : "modules for which kohya's format has no name here (UNets and CLIP text encoders have them)";
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
       read_parts(path, parse_pipeline_key, "modules of a UNet or a CLIP text encoder, such as lora_unet_<module>.lora_down.weight")) {
    adapter.updates.emplace_back(update_of_parts(module, parts, path.string() + ": module '" + module + "'"));
  }
  adapter.options.use_dora = std::any_of(adapter.updates.begin(), adapter.updates.end(), [](const AdapterUpdate& update) {
    return std::get<LowRankUpdate>(update).magnitude_O.has_value();
  });
  return adapter;
}

void write_kohya_pipeline(const fs::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  const UnetFamily family = family_of(adapter, base);
  const bool predicts_velocity = base.config.is_object() && base.config.value("prediction_type", Json("")) == "v_prediction";
  const FamilyNames& names = family == UnetFamily::kXl         ? kNamesOfXl
                             : family == UnetFamily::kVersion1 ? kNamesOf1
                             : predicts_velocity               ? kNamesOf2Velocity
                                                               : kNamesOf2;
  const std::vector<io::NamedTensor> tensors = named_pairs(adapter, family, options.dtype);
  std::map<std::string, std::string> metadata = training_metadata(adapter, family, names);
  io::save_tensors(file, tensors, metadata);
  metadata.merge(hashes_of(file));
  metadata.merge(model_spec(file, family, names, predicts_velocity));
  metadata.emplace("format", "pt");
  io::save_tensors(file, tensors, metadata);
}

}  // namespace lora::peft
