#pragma once
#include <string>

#include "lora/peft/formats.h"

namespace lora::peft {

/// Why a format cannot hold this module's update, as the end of a sentence about the module, or "".
using Refusal = std::string (*)(const LowRankUpdate& update, const BaseFacts& base);

/// One format: what it can hold, and its two directions. The table of all is in formats.cpp.
struct FormatEntry {
  AdapterFormat format;
  const char* program;       ///< whose it is, for messages
  const char* file;          ///< its weights' file in the folder, or null for a format of one file
  bool holds_dora;           ///< magnitudes
  bool holds_lora_bias;      ///< biases of lora_B
  bool holds_whole_tensors;  ///< modules_to_save, trained biases, rows of trained tokens
  Refusal refusal;           ///< null: it holds the update of any module
  Adapter (*read)(const std::filesystem::path& path, const BaseFacts& base);  ///< null: not read here
  void (*write)(const std::filesystem::path& path, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);
};

std::string mlx_refusal(const LowRankUpdate& update, const BaseFacts& base);
Adapter read_mlx(const std::filesystem::path& folder, const BaseFacts& base);
void write_mlx(const std::filesystem::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

std::string kohya_refusal(const LowRankUpdate& update, const BaseFacts& base);
/// Whether the file at `path` has tensors of kohya's names.
bool is_kohya(const std::filesystem::path& file);
Adapter read_kohya(const std::filesystem::path& file, const BaseFacts& base);
void write_kohya(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

std::string gguf_refusal(const LowRankUpdate& update, const BaseFacts& base);
void write_gguf_adapter(const std::filesystem::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options);

}  // namespace lora::peft
