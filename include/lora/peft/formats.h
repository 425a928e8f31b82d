#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/peft/adapter.h"

namespace lora::peft {

/// The formats that adapters are converted between (formats.cpp lists what each can hold).
enum class AdapterFormat { kPeft, kMlx, kKohya, kGguf, kVllm, kDiffusers };
inline constexpr EnumTable<AdapterFormat, 6> kAdapterFormats{{{
    {AdapterFormat::kPeft, "peft"},            ///< folder: adapter_config.json and adapter_model.safetensors
    {AdapterFormat::kMlx, "mlx"},              ///< folder: adapter_config.json and adapters.safetensors (mlx-lm)
    {AdapterFormat::kKohya, "kohya"},          ///< one .safetensors file, modules named with underscores (sd-scripts)
    {AdapterFormat::kGguf, "gguf"},            ///< one .gguf file (llama.cpp); write only
    {AdapterFormat::kVllm, "vllm"},            ///< PEFT's folder, restricted to what vLLM loads; read as PEFT
    {AdapterFormat::kDiffusers, "diffusers"},  ///< one .safetensors file of a pipeline's components
}}};

/// What a conversion knows about the adapter's base model: nothing if no model was given.
struct BaseFacts {
  std::string name;                  ///< base_model_name_or_path of the result
  Json config;                       ///< config.json, or null
  std::vector<std::string> modules;  ///< names of the base's modules with a weight

  bool is_known() const { return config.is_object(); }
  bool ties_embeddings() const;
};

struct WriteOptions {
  at::ScalarType dtype = at::ScalarType::Float;
  std::string kohya_prefix = "lora_unet";  ///< prefix of the module names: lora_unet, lora_te, lora_te1 …
  bool drop_unsupported = false;           ///< leave out what the format cannot hold, with a warning for each kind
};

/// The format of the adapter at `path`: a PEFT folder, an MLX folder or a kohya file. Throws model Error with what was found and the
/// formats that can be read.
AdapterFormat detect_adapter_format(const std::filesystem::path& path);

/// Whether a .safetensors file is an adapter of a text-to-image pipeline.
bool is_pipeline_file(const std::filesystem::path& file);

/// Reads an adapter in another format than PEFT's (for that see read_adapter) with PEFT's names and layout, and the file's values. kohya's
/// names are resolved by those of pipelines, by the base's modules, or by Llama's if the base is not known. Throws model Error that lists
/// whatever is not understood.
Adapter read_foreign_adapter(AdapterFormat format, const std::filesystem::path& path, const BaseFacts& base);

/// The files that write_foreign_adapter writes at `path`; for a single-file format, `path` itself.
std::vector<std::filesystem::path> files_of_format(AdapterFormat format, const std::filesystem::path& path);

struct Written {
  size_t num_modules = 0;
  std::vector<std::string> left_out;  ///< what the format cannot hold, one line per kind
};

/// Writes the adapter in any of the formats; the files of a folder format go into an existing folder. Throws model Error that lists what
/// the format cannot hold, unless that may be dropped; for a value that is too large for the dtype; for GGUF without the base's
/// config.json.
Written write_foreign_adapter(AdapterFormat format, const std::filesystem::path& path, const Adapter& adapter, const BaseFacts& base,
                              const WriteOptions& options);

}  // namespace lora::peft
