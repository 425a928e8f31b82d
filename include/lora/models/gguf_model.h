#pragma once
#include <filesystem>

namespace lora::models {

/// If there is a GGUF file at the path, makes it readable as the folder of its model (lora/base/bundle.h): with a config.json, a
/// tokenizer.json or tokenizer.model, a tokenizer_config.json with the chat template, and a generation_config.json, as its metadata
/// determine them. Otherwise does nothing. The file is only opened when one of these is read, which throws model Error if it is damaged.
void add_gguf_model(const std::filesystem::path& path);

}  // namespace lora::models
