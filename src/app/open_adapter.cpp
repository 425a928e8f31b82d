#include "app/open_adapter.h"

#include "lora/config/command_line.h"

namespace lora::app {

peft::Adapter open_adapter_folder(const std::filesystem::path& folder) {
  return peft::read_adapter(folder, config::read_adapter_folder(folder));
}

OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base) {
  const peft::AdapterFormat found = format ? *format : peft::detect_adapter_format(path);
  return {found, found == peft::AdapterFormat::kPeft ? open_adapter_folder(path)
                                                     : peft::read_foreign_adapter(found, path, base)};
}

}  // namespace lora::app
