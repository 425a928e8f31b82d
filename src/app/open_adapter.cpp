#include "app/open_adapter.h"

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/peft/file_names.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

namespace fs = std::filesystem;

peft::Adapter open_single_folder(const fs::path& folder) {
  return peft::read_adapter(folder, config::read_adapter_folder(folder));
}

bool has_adapter(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / peft::kAdapterConfigFile, ignored);
}

/// The text encoders whose adapters are in folders of an adapter's folder.
std::vector<std::string> adapted_text_encoders(const fs::path& folder) {
  std::vector<std::string> components;
  for (const std::string& component : peft::pipeline_components()) {
    const fs::path own = peft::component_folder(folder, component);
    if (own != folder && has_adapter(own)) {
      components.push_back(component);
    }
  }
  return components;
}

}  // namespace

bool is_adapter_of_text_encoders(const fs::path& folder) {
  return !adapted_text_encoders(folder).empty();
}

void require_adapter_of_network(const fs::path& folder, const std::string& where) {
  const std::vector<std::string> components = adapted_text_encoders(folder);
  if (!components.empty()) {
    config_error(where, "changes text encoders too: found " + join(components) + " in " + folder.string() +
                            ", expected an adapter of the network alone, because this version trains and evaluates only that. To continue "
                            "without them, give a copy of the folder that lacks them.");
  }
}

peft::Adapter open_adapter_folder(const fs::path& folder) {
  std::vector<peft::ComponentAdapter> parts;
  if (has_adapter(folder) || !is_adapter_of_text_encoders(folder)) {
    peft::Adapter adapter = open_single_folder(folder);
    const std::string network = peft::network_of_folder(adapter);
    if (network.empty()) {
      return adapter;
    }
    parts.push_back({network, std::move(adapter)});
  }
  for (const std::string& component : adapted_text_encoders(folder)) {
    parts.push_back({component, open_single_folder(peft::component_folder(folder, component))});
  }
  return peft::joined(std::move(parts));
}

bool is_pipeline_adapter_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && path.extension() == ".safetensors" && peft::is_pipeline_file(path);
}

peft::Adapter open_any_adapter(const fs::path& path) {
  return is_pipeline_adapter_file(path) ? open_adapter(path, std::nullopt, {}).adapter : open_adapter_folder(path);
}

OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base) {
  const bool is_text_only = !format && is_adapter_of_text_encoders(path);
  const peft::AdapterFormat found = format ? *format : is_text_only ? peft::AdapterFormat::kPeft : peft::detect_adapter_format(path);
  return {found, found == peft::AdapterFormat::kPeft ? open_adapter_folder(path)
                                                     : peft::read_foreign_adapter(found, path, base)};
}

}  // namespace lora::app
