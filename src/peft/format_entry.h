#pragma once
#include <string>

#include "lora/peft/formats.h"

namespace lora::peft {

/// Which modules the format cannot hold the updates of and why, if this is one of them ("embeddings (…)"), else "".
using Refusal = std::string (*)(const LowRankUpdate& update, const BaseFacts& base);

/// One format: what it can hold, and its reader and writer. The table of all formats is in formats.cpp.
struct FormatEntry {
  AdapterFormat format;
  bool is_of_pipelines;      ///< for adapters of text-to-image pipelines (peft/pipeline_adapter.h); otherwise for those of one model
  const char* program;       ///< its name in messages
  const char* file;          ///< the weights' file in the folder; null: the format is a single file
  bool holds_dora;           ///< magnitudes
  bool holds_lora_bias;      ///< biases of lora_B
  bool holds_whole_tensors;  ///< modules_to_save, trained biases, rows of trained tokens
  Refusal refusal;           ///< null: the format holds the update of any module
  bool (*is)(const std::filesystem::path& file);  ///< whether a .safetensors file has its names; null: not readable, or a folder
  Adapter (*read)(const std::filesystem::path& path, const BaseFacts& base);  ///< null: not readable
  void (*write)(const std::filesystem::path& path, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);
};

/// For formats of language models.
inline std::string convolution_refusal(const LowRankUpdate& update) {
  return update.kind == PairKind::kConvolution ? "convolutions (the format is for linear modules)" : "";
}

std::string mlx_refusal(const LowRankUpdate& update, const BaseFacts& base);
Adapter read_mlx(const std::filesystem::path& folder, const BaseFacts& base);
void write_mlx(const std::filesystem::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

std::string kohya_refusal(const LowRankUpdate& update, const BaseFacts& base);
/// Whether the file has tensors with kohya's names.
bool is_kohya(const std::filesystem::path& file);
Adapter read_kohya(const std::filesystem::path& file, const BaseFacts& base);
void write_kohya(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

std::string kohya_pipeline_refusal(const LowRankUpdate& update, const BaseFacts& base);
bool is_kohya_pipeline(const std::filesystem::path& file);
Adapter read_kohya_pipeline(const std::filesystem::path& file, const BaseFacts& base);
void write_kohya_pipeline(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

bool is_diffusers(const std::filesystem::path& file);
Adapter read_diffusers(const std::filesystem::path& file, const BaseFacts& base);
void write_diffusers(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

std::string gguf_refusal(const LowRankUpdate& update, const BaseFacts& base);
void write_gguf_adapter(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

}  // namespace lora::peft
