#include "app/model_path.h"

#include <algorithm>
#include <vector>

#include "app/backend.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/json.h"
#include "lora/base/sibling.h"
#include "lora/base/text.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

constexpr const char* kExpected = ", expected a Hugging Face model folder (config.json, *.safetensors), a GGUF file or a TorchScript file";

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Describes a file that is not a TorchScript module, by its name and first bytes, and says what to pass instead.
std::string file_kind(const fs::path& file) {
  if (file.extension() == ".safetensors") {
    return "a weights file, expected a model folder. Use the folder that holds it and config.json.";
  }
  return file.filename() == "config.json" ? "a config.json, expected a model folder. Use the folder that holds it."
                                          : std::string("a file") + kExpected;
}

/// The quoted name of the base model that an adapter was trained on, or "".
std::string base_of(const fs::path& adapter_config) {
  try {
    const Json config = read_json(adapter_config, ErrorKind::kModel);
    // In the adapters library's files it is "model_name".
    const Json name = config.is_object() ? config.value("base_model_name_or_path", config.value("model_name", Json())) : Json();
    return name.is_string() && name != "" ? " '" + printable(name.get<std::string>(), 120) + "'" : "";
  } catch (const Error&) {
    return "";
  }
}

[[noreturn]] void fail_as_adapter(const fs::path& folder, const std::string& where) {
  const std::string base = base_of(folder / peft::kAdapterConfigFile);
  const std::string advice = where == "model.path"
                                 ? "Set model.path to its base model" + base + "; adapter.init_from continues its training."
                                 : "Use --adapter for it, and " + where + " for its base model" + base + ".";
  model_error(where, "is an adapter: found adapter_config.json and no config.json in '" + folder.string() + "'. " + advice);
}

/// The class of a config.json that diffusers wrote; "" for any other.
std::string diffusers_class(const fs::path& config_file) {
  try {
    const Json config = read_json(config_file, ErrorKind::kModel);
    const Json name = config.is_object() && !config.contains("model_type") ? config.value("_class_name", Json()) : Json();
    return name.is_string() ? printable(name.get<std::string>(), 120) : "";
  } catch (const Error&) {
    return "";  // what reads it next reports that
  }
}

}  // namespace

void require_path(const models::ModelOptions& options, const std::string& where) {
  std::error_code error;
  if (!fs::exists(options.path, error)) {
    model_error(where, "does not exist: found '" + options.path.string() + "'" + kExpected + did_you_mean_sibling(options.path));
  }
}

void require_model(const models::ModelOptions& options, const std::string& where, train::ObjectiveKind objective) {
  require_path(options, where);
  const Backend& backend = backend_of(options, objective);
  if (backend.is_module || backend.removes_noise) {
    return;  // what opens it says what is wrong
  }
  std::error_code error;
  if (!is_folder(options.path)) {
    model_error(where, "cannot load '" + options.path.string() + "': found " + file_kind(options.path));
  }
  if (fs::exists(options.path / "config.json", error) || is_file(options.path / "config.json")) {
    const std::string component = diffusers_class(options.path / "config.json");
    if (!component.empty()) {
      model_error(where, "is a component of a text-to-image pipeline: found the class " + component + " in '" +
                             (options.path / "config.json").string() +
                             "', expected the folder of the whole pipeline, which holds model_index.json");
    }
    return;
  }
  if (fs::exists(options.path / peft::kAdapterConfigFile, error)) {
    fail_as_adapter(options.path, where);
  }
  if (fs::exists(options.path / "model_index.json", error)) {
    model_error(where, "is a text-to-image pipeline: found model_index.json in '" + options.path.string() + "'" + kExpected +
                           ". To train on images with it, set training.objective to \"denoising\".");
  }
  const std::vector<std::string> names = names_in(options.path);
  model_error(where, "holds no config.json: found " + (names.empty() ? "an empty folder" : join(names, ", ", 4)) + " in '" +
                         options.path.string() + "'" + kExpected);
}

}  // namespace lora::app
