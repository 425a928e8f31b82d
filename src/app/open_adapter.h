#pragma once
#include <filesystem>
#include <optional>

#include "lora/peft/formats.h"

namespace lora::app {

struct OpenedAdapter {
  peft::AdapterFormat format;
  peft::Adapter adapter;
};

/// Reads an adapter of any format that is read, found out where `format` is none. Throws model Error for what is none, or
/// damaged.
OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base);

}  // namespace lora::app
