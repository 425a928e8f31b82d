#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags of `lora-convert`.
struct ConvertRequest {
  std::filesystem::path adapter;            ///< --adapter
  std::string from = "auto";                ///< --from: the format that it has
  std::string to;                           ///< --to; empty: peft, where something is computed
  std::filesystem::path output;             ///< --output
  bool overwrite = false;                   ///< --overwrite
  bool allow_other_base = false;            ///< --allow-other-base: --model may be another one than the adapter's
  std::string model;                        ///< --model: the base; empty: not known
  std::string dtype = "float32";            ///< --dtype of A and B
  bool drop_unsupported = false;            ///< --drop-unsupported
  std::vector<std::string> renames;         ///< --rename: REGEX=REPLACEMENT of the modules' names, in order
  std::string kohya_prefix = "lora_unet";   ///< --kohya-prefix
  bool bake = false;                        ///< --bake: to plain LoRA of rank `r`
  bool extract = false;                     ///< --extract: a LoRA of rank `r` from two checkpoints
  std::optional<int64_t> r;                 ///< --r
  std::optional<int64_t> resize;            ///< --resize: to this rank
  std::string base;                         ///< --base of --extract
  std::string tuned;                        ///< --tuned of --extract
  std::vector<std::string> target_modules;  ///< --target-modules of --extract; empty: all linear modules but the head
  bool json = false;                        ///< --json
  config::Surroundings surroundings;
};

/// Reads an adapter in one format, or makes one of two checkpoints, and writes it in another; prints what was lost on the
/// way. Throws config Error for flags that do not go together, model Error for what cannot be read or held by the target
/// format (listed), output Error for an output that is there.
int convert_command(const ConvertRequest& request);

}  // namespace lora::app
