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
  std::string from = "auto";                ///< --from: format of the adapter
  std::string to;                           ///< --to; empty: peft, if something is computed
  std::filesystem::path output;             ///< --output
  bool overwrite = false;                   ///< --overwrite
  bool allow_other_base = false;            ///< --allow-other-base: --model may differ from the adapter's base model
  std::string model;                        ///< --model: the base model; empty: not known
  std::string dtype;                        ///< --dtype: of A and B; empty: float32. With quantize of the model; empty: as it is
  bool drop_unsupported = false;            ///< --drop-unsupported
  std::vector<std::string> renames;         ///< --rename: REGEX=REPLACEMENT rules for module names, applied in order
  std::string kohya_prefix = "lora_unet";   ///< --kohya-prefix
  bool bake = false;                        ///< --bake: approximate the adapter by plain LoRA of rank `r`
  std::optional<int64_t> to_lora;           ///< --to-lora: bake to this rank, whatever the method
  bool extract = false;                     ///< --extract: create a LoRA of rank `r` from two checkpoints
  std::optional<int64_t> r;                 ///< --r
  std::optional<int64_t> resize;            ///< --resize: change every rank to this
  std::string base;                         ///< --base, for --extract
  std::string tuned;                        ///< --tuned, for --extract
  std::vector<std::string> target_modules;  ///< --target-modules, for --extract; empty: all linear modules except the head
  std::string quantize;                       ///< --quantize: write `model` with packed weights, instead of an adapter; empty: no
  std::optional<int64_t> max_shard_size;    ///< --max-shard-size, for quantize: bytes of tensors per file; none: 5 GB
  bool json = false;                        ///< --json
  config::Surroundings surroundings;
};

/// Reads an adapter in one format, or creates one from two checkpoints, and writes it in another. Prints what was lost. With `quantize`
/// writes a model whose projections are packed instead, in the files of transformers and bitsandbytes. Throws config Error
/// for flags that exclude each other, model Error for an input that cannot be read and for parts that the target format cannot hold (it
/// lists them), output Error for an existing output.
int convert_command(const ConvertRequest& request);

}  // namespace lora::app
