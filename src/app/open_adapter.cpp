#include "app/open_adapter.h"

#include "lora/config/command_line.h"

namespace lora::app {

OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base) {
  const peft::AdapterFormat found = format ? *format : peft::detect_adapter_format(path);
  return {found, found == peft::AdapterFormat::kPeft ? peft::read_adapter(path, config::read_adapter_folder(path))
                                                     : peft::read_foreign_adapter(found, path, base)};
}

}  // namespace lora::app
