#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "lora/peft/formats.h"

namespace lora::app {

struct OpenedAdapter {
  peft::AdapterFormat format;
  peft::Adapter adapter;
};

/// Reads an adapter of any readable format, which is detected if `format` is not given. Throws model Error for a path that is not an
/// adapter or is damaged.
OpenedAdapter open_adapter(const std::filesystem::path& path, std::optional<peft::AdapterFormat> format, const peft::BaseFacts& base);

/// Whether the folder holds adapters of a pipeline's text encoders (peft/pipeline_adapter.h), with or without one of the network.
bool is_adapter_of_text_encoders(const std::filesystem::path& folder);

/// Throws config Error at `where` for a folder with adapters of text encoders, for programs that would use only the network's.
void require_adapter_of_network(const std::filesystem::path& folder, const std::string& where);

/// Whether the path is a file of an adapter of a pipeline, in diffusers' or kohya's format.
bool is_pipeline_adapter_file(const std::filesystem::path& path);

/// Reads a folder in PEFT's format: the adapter of a model, or of a pipeline's components. Throws model Error for a folder that is not one.
peft::Adapter open_adapter_folder(const std::filesystem::path& folder);

/// The same, or a file of an adapter of a pipeline.
peft::Adapter open_any_adapter(const std::filesystem::path& path);

}  // namespace lora::app
