#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/peft/combine.h"

namespace lora::app {

/// The values of --base-as.
inline constexpr const char* kBaseFloat = "float";
inline constexpr const char* kBaseQuantized = "quantized";

/// The flags of `lora-merge`.
struct MergeRequest {
  std::string model;                  ///< --model: the base model, or with unmerge the merged model; empty with --combine
  std::vector<std::string> adapters;  ///< --adapter: folders
  std::vector<double> weights;        ///< --weight: one per adapter, or none for 1 each
  std::filesystem::path output;       ///< --output
  bool overwrite = false;             ///< --overwrite: replace an output that is a model or an adapter
  bool allow_other_base = false;      ///< --allow-other-base: warn of adapters of another base model instead of refusing them

  // With --model:
  bool trust_torchscript = false;          ///< --trust-torchscript: the file's code may be run
  std::vector<std::string> inputs;         ///< --inputs of a TorchScript file, for verify; empty: by the arguments' names
  std::string output_field;                ///< --output-field of a TorchScript file, for verify; empty: the logits
  std::string dtype = "auto";              ///< --dtype of the result; auto: each tensor's own
  int64_t max_shard_size = 5'000'000'000;  ///< --max-shard-size: bytes of tensors per file
  bool unmerge = false;                    ///< --unmerge: subtract the adapters
  /// --base-as: merge into the plain base, or into the weights that the adapters saw when it was quantised; empty: float, but not for an
  /// adapter that fits only the quantised one.
  std::string base_as;
  bool requantize = false;                 ///< --requantize: pack the result as the base was packed, for the adapters or in its files
  bool verify = false;                     ///< --verify: run both models and compare their logits
  std::optional<double> tolerance;         ///< --tolerance for verify, as a fraction of the largest logit
  std::string data;                        ///< --data: rows for verify; empty: random tokens
  std::string format = "tokens";           ///< --format of --data
  std::string documents = "line";          ///< --documents: the unit of a .txt --data that is one document
  std::string device = "auto";             ///< --device for verify

  std::string combine;               ///< --combine: the method; empty: merge
  peft::CombineOptions combination;  ///< the other options of --combine
  std::string majority_sign_method;  ///< --majority-sign-method, as given
  config::Surroundings surroundings;
};

/// Writes the model with its adapters merged (or subtracted again) as a Hugging Face folder, a TorchScript --model as a TorchScript file,
/// or with --combine several adapters combined into one as a PEFT folder. The output appears complete or not at all. Memory holds a piece
/// of one tensor at a time, whatever the model's size, or the whole of one that is packed, and --requantize keeps the scales of all;
/// --verify also loads the models. Throws config Error for flags that exclude each
/// other, output Error for an output that exists or overlaps an input, model Error for files that do not fit and for a result above the
/// tolerance of --verify.
int merge_command(const MergeRequest& request);

}  // namespace lora::app
