#include "model_path.h"

#include <algorithm>
#include <vector>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/json.h"
#include "lora/base/sibling.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

constexpr const char* kExpected = ", expected a Hugging Face model folder (config.json, *.safetensors) or a TorchScript file";

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// What a file that is no module is, as far as its name and first bytes tell, and what to give in its place.
std::string file_kind(const fs::path& file) {
  if (first_bytes(file, 4) == "GGUF") {
    return std::string("a GGUF file, which is written here and not read") + kExpected;
  }
  if (file.extension() == ".safetensors") {
    return "a file of weights. Give the folder that holds it beside its config.json";
  }
  return file.filename() == "config.json" ? "a config.json. Give its folder" : std::string("a file") + kExpected;
}

/// The base that an adapter was trained on, in quotes, or "".
std::string base_of(const fs::path& adapter_config) {
  try {
    const Json config = read_json(adapter_config, ErrorKind::kModel);
    const Json name = config.is_object() ? config.value("base_model_name_or_path", Json()) : Json();
    return name.is_string() && name != "" ? " '" + printable(name.get<std::string>(), 120) + "'" : "";
  } catch (const Error&) {
    return "";
  }
}

[[noreturn]] void fail_as_adapter(const fs::path& folder, const std::string& where) {
  const std::string base = base_of(folder / "adapter_config.json");
  const std::string advice = where == "model.path" ? "Give its base" + base + " here; adapter.init_from continues the adapter"
                                                   : "Give it by --adapter, and its base" + base + " by " + where;
  model_error(where, "is an adapter: found adapter_config.json and no config.json in '" + folder.string() + "'. " + advice);
}

}  // namespace

void require_path(const models::ModelOptions& options, const std::string& where) {
  std::error_code error;
  if (!fs::exists(options.path, error)) {
    model_error(where, "does not exist: found '" + options.path.string() + "'" + kExpected + did_you_mean_sibling(options.path));
  }
}

void require_model(const models::ModelOptions& options, const std::string& where) {
  require_path(options, where);
  if (options.is_torchscript()) {
    return;
  }
  std::error_code error;
  if (!fs::is_directory(options.path, error)) {
    model_error(where, "'" + options.path.string() + "' is " + file_kind(options.path));
  }
  if (fs::exists(options.path / "config.json", error)) {
    return;
  }
  if (fs::exists(options.path / "adapter_config.json", error)) {
    fail_as_adapter(options.path, where);
  }
  const std::vector<std::string> names = names_in(options.path);
  model_error(where, "holds no config.json: found " + (names.empty() ? "an empty folder" : join(names, ", ", 4)) + " in '" +
                         options.path.string() + "'" + kExpected);
}

}  // namespace lora::app
