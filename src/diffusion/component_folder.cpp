#include "diffusion/component_folder.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string_view>

#include "diffusion/component_names.h"
#include "diffusion/viewed_checkpoint.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::diffusion {

namespace {

constexpr std::string_view kEnd = ".safetensors";

std::vector<std::string> files_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names = names_in(folder, error);
  if (error) {
    model_error(folder.string(), "cannot be read as the folder of a pipeline's component: " + error.message());
  }
  return names;
}

/// What diffusers and transformers call the weights of a component.
std::string_view base_name(const std::string& component) {
  return component.starts_with("text_encoder") ? "model" : "diffusion_pytorch_model";
}

/// "-00001-of-00002", which ends the name of a part.
bool is_part(std::string_view name) {
  const auto is_number = [](std::string_view text) {
    return text.size() == 5 && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  return name.size() >= 15 && name.substr(name.size() - 9, 4) == "-of-" && name[name.size() - 15] == '-' &&
         is_number(name.substr(name.size() - 5)) && is_number(name.substr(name.size() - 14, 5));
}

/// The text between `begin` and `end` if the name has both; "fp16" for ".fp16", "" for nothing between them, none for anything else.
std::optional<std::string> variant_between(std::string_view name, std::string_view begin, std::string_view end) {
  if (name.size() < begin.size() + end.size() || !name.starts_with(begin) || !name.ends_with(end)) {
    return std::nullopt;
  }
  const std::string_view middle = name.substr(begin.size(), name.size() - begin.size() - end.size());
  if (middle.empty()) {
    return "";
  }
  const bool is_name = middle.size() > 1 && middle[0] == '.' && middle.find('.', 1) == std::string_view::npos;
  return is_name ? std::optional<std::string>(middle.substr(1)) : std::nullopt;
}

/// The weight files in the folder by variant; "" is the plain one.
std::map<std::string, io::WeightFileNames> variants_in(const std::vector<std::string>& files, std::string_view base) {
  std::map<std::string, io::WeightFileNames> variants;
  const auto entry = [&variants](const std::string& variant) -> io::WeightFileNames& {
    return variants.try_emplace(variant, io::WeightFileNames{"", ""}).first->second;
  };
  const std::string whole = std::string(base) + std::string(kEnd);
  for (const std::string& file : files) {
    if (const auto plain = variant_between(file, base, kEnd); plain && !is_part(*plain)) {
      entry(*plain).single = file;
    } else if (const auto index = variant_between(file, base, ".safetensors.index.json")) {
      entry(*index).index = file;
    } else if (const auto other = variant_between(file, whole + ".index", ".json")) {
      entry(*other).index = file;  // diffusers writes an index's variant here
    }
  }
  return variants;
}

[[noreturn]] void no_component_weights(const ComponentFolder& folder, const std::vector<std::string>& files) {
  const std::string expected = std::string(base_name(folder.name)) + std::string(kEnd);
  const auto pickle = std::find_if(files.begin(), files.end(), [](const std::string& name) { return name.ends_with(".bin"); });
  if (pickle != files.end()) {
    const std::string pipeline = folder.path.parent_path().string();
    model_error(folder.path.string(),
                "found " + *pickle + ", expected " + expected + ", because pickled weights can run code when they are read. Convert them "
                    "once in Python: from diffusers import DiffusionPipeline as P; P.from_pretrained('" + pipeline +
                    "').save_pretrained('" + pipeline + "', safe_serialization=True)");
  }
  model_error(folder.path.string(), "found no weights, expected " + expected + " or its index. Likely cause: an incomplete download.");
}

/// The files of the requested variant, or of the one to take without a request.
io::WeightFileNames choose(const ComponentFolder& folder) {
  const std::vector<std::string> files = files_in(folder.path);
  const std::map<std::string, io::WeightFileNames> variants = variants_in(files, base_name(folder.name));
  if (variants.empty()) {
    no_component_weights(folder, files);
  }
  if (const auto requested = variants.find(folder.variant); requested != variants.end()) {
    return requested->second;
  }
  std::vector<std::string> names;
  for (const auto& [variant, unused] : variants) {
    names.push_back(variant.empty() ? "none" : variant);
  }
  if (!folder.variant.empty() && !variants.contains("")) {
    model_error(folder.path.string(), "there is no such variant of the weights: found " + join(names) + ", expected " + folder.variant);
  }
  if (!variants.contains("") && variants.size() > 1) {
    model_error(folder.path.string(), "found several variants of the weights (" + join(names) +
                                          ") and no plain file, expected one of them to be chosen. Set model.variant.");
  }
  if (!folder.variant.empty()) {
    log::warn("[" + folder.path.string() + "] has no weights of the variant " + folder.variant + ": the plain file is used");
  }
  return variants.begin()->second;
}

}  // namespace

fs::path config_file(const ComponentFolder& folder) {
  return folder.path / (folder.name == kScheduler ? "scheduler_config.json" : "config.json");
}

ComponentConfig read_component_config(const ComponentFolder& folder) {
  const fs::path file = config_file(folder);
  ComponentConfig config{read_json(file, ErrorKind::kModel), file.string()};
  if (!config.json.is_object()) {
    model_error(config.where, "found " + type_name(config.json) + ", expected an object");
  }
  return config;
}

std::unique_ptr<io::Checkpoint> open_component_weights(const ComponentFolder& folder) {
  auto stored = std::make_shared<io::SafetensorsCheckpoint>(folder.path, choose(folder));
  std::vector<TensorView> views;
  for (const std::string& name : stored->names()) {
    if (const std::string current = current_name(folder.name, name); !current.empty()) {
      views.push_back({current, name});
    }
  }
  return std::make_unique<ViewedCheckpoint>(folder.path, std::move(stored), std::move(views));
}

}  // namespace lora::diffusion
