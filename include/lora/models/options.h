#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"

namespace lora::models {

enum class ComputeDtype { kAuto, kFloat32, kBFloat16, kFloat16 };
inline constexpr EnumTable<ComputeDtype, 4> kComputeDtypes{{{{ComputeDtype::kAuto, "auto"},
                                                             {ComputeDtype::kFloat32, "float32"},
                                                             {ComputeDtype::kBFloat16, "bfloat16"},
                                                             {ComputeDtype::kFloat16, "float16"}}}};

enum class ModelFormat { kAuto, kSafetensors, kTorchScript };
inline constexpr EnumTable<ModelFormat, 3> kModelFormats{
    {{{ModelFormat::kAuto, "auto"}, {ModelFormat::kSafetensors, "safetensors"}, {ModelFormat::kTorchScript, "torchscript"}}}};

/// The run's `model` section.
struct ModelOptions {
  std::filesystem::path path;                ///< folder, already resolved (relative to the config; hub cache)
  std::string name;                          ///< `path` as the user wrote it, for the adapter's base_model_name_or_path
  ModelFormat format = ModelFormat::kAuto;   ///< if it was auto, resolved from the path's name
  ComputeDtype dtype = ComputeDtype::kAuto;  ///< auto: the checkpoint's own
  std::string device = "auto";               ///< "auto", "cpu", "cuda" or "cuda:N"
  std::filesystem::path tokenizer;           ///< folder or file; the model's folder by default
  bool from_scratch = false;                 ///< random weights of config.json's shape
  std::optional<double> base_dropout;        ///< of the base itself, replacing config.json's; 0 ≤ p < 1
  bool trust_torchscript = false;            ///< whether the file's code may be run
  /// For a TorchScript model: batch fields in the order of its arguments; none: determined by their names.
  std::optional<std::vector<std::string>> inputs;
  std::optional<std::string> output;  ///< the part of its result to use: a key or an index; none: the logits

  bool is_torchscript() const { return format == ModelFormat::kTorchScript; }
};

}  // namespace lora::models
