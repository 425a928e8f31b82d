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

/// The formats in which the weights of projections can be kept: bitsandbytes' (Dettmers et al. 2022 and 2023), or plain numbers.
enum class QuantizationKind { kNf4, kFp4, kInt8, kNone };
inline constexpr EnumTable<QuantizationKind, 4> kQuantizationKinds{{{{QuantizationKind::kNf4, "nf4"},
                                                                     {QuantizationKind::kFp4, "fp4"},
                                                                     {QuantizationKind::kInt8, "int8"},
                                                                     {QuantizationKind::kNone, "none"}}}};

/// model.quantization.
struct Quantization {
  QuantizationKind type = QuantizationKind::kNf4;  ///< kNone: weights that are packed in the file are decoded
  bool double_quant = false;                       ///< of nf4 and fp4: the blocks' scales are quantised too
  int64_t block_size = 64;                         ///< of nf4 and fp4: values that share a scale
  /// Modules that keep plain numbers, as transformers' llm_int8_skip_modules names them. Heads, embeddings, norms and routers always do.
  std::vector<std::string> skip_modules = {};
};

/// The run's `model` section.
struct ModelOptions {
  std::filesystem::path path;                ///< folder, already resolved (relative to the config; hub cache)
  std::string name;                          ///< `path` as the user wrote it, for the adapter's base_model_name_or_path
  ModelFormat format = ModelFormat::kAuto;   ///< if it was auto, resolved from the path's name
  ComputeDtype dtype = ComputeDtype::kAuto;  ///< auto: the checkpoint's own
  std::string device = "auto";               ///< "auto", "cpu", "cuda" or "cuda:N"
  std::filesystem::path tokenizer;           ///< folder or file; the model's folder by default
  std::optional<Quantization> quantization;  ///< none: weights stay as they are in the file
  bool from_scratch = false;                 ///< random weights of config.json's shape
  std::optional<double> base_dropout;        ///< of the base itself, replacing config.json's; 0 ≤ p < 1
  bool trust_torchscript = false;            ///< whether the file's code may be run
  /// For a TorchScript model: batch fields in the order of its arguments; none: determined by their names.
  std::optional<std::vector<std::string>> inputs;
  std::optional<std::string> output;  ///< the part of its result to use: a key or an index; none: the logits

  /// For a text-to-image pipeline.
  std::string variant;          ///< of its weight files ("fp16"); empty: the plain ones, or the only ones
  std::filesystem::path vae;    ///< folder of another VAE; empty: the pipeline's own
  std::string prediction_type;  ///< of its network, replacing the scheduler's; empty: as the scheduler's config says
  int64_t clip_skip = 1;        ///< the layer of its CLIP encoders that is used; 1: the usual one, 2: the one before it

  bool is_torchscript() const { return format == ModelFormat::kTorchScript; }
  /// Whether weights are quantised while they are loaded.
  bool quantises() const { return quantization && quantization->type != QuantizationKind::kNone; }
};

}  // namespace lora::models
