#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/peft/combine.h"

namespace lora::app {

/// The flags of `lora-merge`.
struct MergeRequest {
  std::string model;                  ///< --model: the base, or with unmerge the merged model; empty with --combine
  std::vector<std::string> adapters;  ///< --adapter: folders
  std::vector<double> weights;        ///< --weight: one an adapter, or none: 1 each
  std::filesystem::path output;       ///< --output
  bool overwrite = false;             ///< --overwrite: an output folder of the same kind is replaced
  bool allow_other_base = false;      ///< --allow-other-base: adapters of another base are warned of, not refused

  // With --model:
  bool trust_torchscript = false;          ///< --trust-torchscript: a .pt file's code may be run
  std::vector<std::string> inputs;         ///< --inputs of a .pt file, for verify; empty: by its arguments' names
  std::string output_field;                ///< --output-field of it, for verify; empty: the logits
  std::string dtype = "auto";              ///< --dtype of the result; auto: each tensor's own
  int64_t max_shard_size = 5'000'000'000;  ///< --max-shard-size, bytes of tensors a file
  bool unmerge = false;                    ///< --unmerge: takes the adapters out
  bool verify = false;                     ///< --verify: runs both and compares
  std::optional<double> tolerance;         ///< --tolerance of it: share of the largest logit
  std::string data;                        ///< --data: rows for it; empty: random tokens
  std::string format = "tokens";           ///< --format of --data
  std::string documents = "line";          ///< --documents: what a document of a .txt --data is
  std::string device = "auto";             ///< --device for it

  std::string combine;               ///< --combine: method; empty: merge
  peft::CombineOptions combination;  ///< the other options of --combine
  std::string majority_sign_method;  ///< --majority-sign-method as given
  config::Surroundings surroundings;
};

/// Writes the model with its adapters merged (or taken out again) as a Hugging Face folder, or with --combine one adapter
/// made of several as a PEFT folder; a TorchScript --model becomes a TorchScript file. The output appears complete or not at all. Memory
/// holds a piece of one tensor at a time, whatever the model's size; --verify loads the models besides. Throws config Error for flags that
/// do not go together and an output folder that overlaps an input, output Error for one that exists, model Error for files that do not fit
/// or a result above the tolerance of --verify.
int merge_command(const MergeRequest& request);

}  // namespace lora::app
