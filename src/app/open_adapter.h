#pragma once
#include <filesystem>
#include <optional>

#include "lora/peft/formats.h"

namespace lora::app {

struct OpenedAdapter {
  peft::AdapterFormat format;
  peft::Adapter adapter;
};

/// Reads an adapter of any readable format, which is detected if `format` is not given. Throws model Error for a path that is not an
/// adapter or is damaged.
OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base);

/// Reads a folder in PEFT's format. Throws model Error for a folder that is not one.
peft::Adapter open_adapter_folder(const std::filesystem::path& folder);

}  // namespace lora::app
