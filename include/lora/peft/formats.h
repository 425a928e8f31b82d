#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/peft/adapter.h"

namespace lora::peft {

/// The formats that adapters are converted between (formats.cpp says what each can hold).
enum class AdapterFormat { kPeft, kMlx, kKohya, kGguf, kVllm };
inline constexpr EnumTable<AdapterFormat, 5> kAdapterFormats{{{
    {AdapterFormat::kPeft, "peft"},    ///< folder: adapter_config.json and adapter_model.safetensors
    {AdapterFormat::kMlx, "mlx"},      ///< folder: adapter_config.json and adapters.safetensors (mlx-lm)
    {AdapterFormat::kKohya, "kohya"},  ///< one .safetensors file, modules named with underscores (sd-scripts)
    {AdapterFormat::kGguf, "gguf"},    ///< one .gguf file (llama.cpp); written, not read
    {AdapterFormat::kVllm, "vllm"},    ///< PEFT's folder with what vLLM loads of it; written, read as PEFT's
}}};

/// What a conversion knows of the adapter's base model: nothing where no model was named.
struct BaseFacts {
  std::string name;                  ///< base_model_name_or_path of what is written
  Json config;                       ///< config.json, or null
  std::vector<std::string> modules;  ///< names of the modules that an adapter can be attached to

  bool is_known() const { return config.is_object(); }
  bool ties_embeddings() const;
};

struct WriteOptions {
  at::ScalarType dtype = at::ScalarType::Float;
  std::string kohya_prefix = "lora_unet";  ///< before the modules' names: lora_unet, lora_te, lora_te1 …
  bool drop_unsupported = false;           ///< leave out, with a warning each, what the format cannot hold
};

/// What lies at `path`: a folder of PEFT's or MLX's, or a file of kohya's. Throws model Error that names what was found
/// and the formats that are read.
AdapterFormat detect_adapter_format(const std::filesystem::path& path);

/// Reads an adapter of MLX's or kohya's format as PEFT would hold it (PEFT's own: read_adapter). Values are those of
/// the file. kohya's names are resolved by the base's modules, or by Llama's where the base is not known. Throws model
/// Error listing what is not understood.
Adapter read_foreign_adapter(AdapterFormat format, const std::filesystem::path& path, const BaseFacts& base);

/// The files that write_foreign_adapter would write at `path`, for a format of one file `path` itself.
std::vector<std::filesystem::path> files_of_format(AdapterFormat format, const std::filesystem::path& path);

struct Written {
  size_t num_modules = 0;
  std::vector<std::string> left_out;  ///< what the format cannot hold, a line each
};

/// Writes the adapter in any of the formats, a folder's files into an existing folder. Throws model Error listing what the format cannot
/// hold, unless it may be dropped; for a value that is too large for the dtype; for GGUF without the base's config.json.
Written write_foreign_adapter(AdapterFormat format, const std::filesystem::path& path, const Adapter& adapter, const BaseFacts& base,
                              const WriteOptions& options);

}  // namespace lora::peft
