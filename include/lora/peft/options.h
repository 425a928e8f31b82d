#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"

namespace lora::peft {

/// How lora_A and lora_B start (PEFT's init_lora_weights).
enum class LoraInit {
  kDefault,     ///< true: A Kaiming-uniform with a = sqrt(5), B zero
  kRandom,      ///< false: A as above, B Kaiming-uniform too (PEFT: "not a no-op, for tests")
  kGaussian,    ///< "gaussian": A ~ N(0, 1/r), B zero
  kOrthogonal,  ///< "orthogonal": random A and B whose product is zero; even ranks only
  kPissa,       ///< "pissa", "pissa_niter_N": the weight's largest singular values, taken out of it (Meng et al. 2024)
  kOlora,       ///< "olora": the first rows of its QR decomposition, taken out of it (Büyükakyüz 2024)
  kEva,         ///< "eva": A from the data's activations (Paischer et al. 2024), B zero
};

/// Those that have a name; beside them PEFT has true, false and "pissa_niter_N".
inline constexpr EnumTable<LoraInit, 5> kNamedInits{{{{LoraInit::kGaussian, "gaussian"},
                                                      {LoraInit::kOrthogonal, "orthogonal"},
                                                      {LoraInit::kPissa, "pissa"},
                                                      {LoraInit::kOlora, "olora"},
                                                      {LoraInit::kEva, "eva"}}}};

/// Whether what A and B start with is taken out of the base weight, so that the model starts unchanged.
constexpr bool changes_base(LoraInit init) {
  return init == LoraInit::kPissa || init == LoraInit::kOlora;
}

/// Which biases of the base are trained (PEFT's bias).
enum class TrainedBias {
  kNone,
  kAll,       ///< every one of the model
  kLoraOnly,  ///< those of the adapted modules
};
inline constexpr EnumTable<TrainedBias, 3> kTrainedBiases{
    {{{TrainedBias::kNone, "none"}, {TrainedBias::kAll, "all"}, {TrainedBias::kLoraOnly, "lora_only"}}}};

/// Tokens that get rows of their own in one layer (PEFT's trainable_token_indices).
struct TokenIndices {
  std::string layer;         ///< the end of its name; "": the input embeddings
  std::vector<int64_t> ids;  ///< in the order of the file's rows
};

/// PEFT's eva_config.
struct EvaOptions {
  double rho = 2.0;                    ///< a module gets at most rho times its rank
  double tau = 0.99;                   ///< a component has converged if its direction moves by less: the cosine
  bool use_label_mask = true;          ///< only tokens with a label count
  int64_t label_mask_value = -100;     ///< the label of those that do not
  bool whiten = false;                 ///< divide each direction by the root of its singular value
  bool adjust_scaling_factors = true;  ///< lora_alpha grows and shrinks with the rank, so that the scale stays
};

/// A choice of modules: PEFT's target_modules and exclude_modules.
struct ModuleChoice {
  enum class Kind { kNone, kList, kRegex, kAllLinear };
  Kind kind = Kind::kNone;
  std::vector<std::string> names;  ///< kList: whole name, or a suffix after a '.'
  std::string regex;               ///< kRegex: matched against the whole name
};

/// The keys of a PEFT LoRA adapter_config.json that we act on; names, meaning and defaults are PEFT's.
struct LoraOptions {
  int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0.0;
  ModuleChoice target_modules;  ///< kNone: the family's default
  ModuleChoice exclude_modules;
  std::optional<std::vector<int64_t>> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  ///< in the file's order: the first match wins
  std::vector<std::pair<std::string, double>> alpha_pattern;
  TrainedBias bias = TrainedBias::kNone;
  bool use_rslora = false;
  bool use_dora = false;                     ///< DoRA: the rows' lengths are trained (Liu et al. 2024)
  bool lora_bias = false;                    ///< lora_B has a bias
  std::vector<std::string> modules_to_save;  ///< ends of names of modules that are trained whole
  std::vector<std::string> task_modules;     ///< those of modules_to_save that the task put there: the model need not have them all
  std::vector<TokenIndices> trainable_token_indices;
  bool ensure_weight_tying = false;  ///< what is trained at the embeddings is trained at a tied head too
  bool has_task = true;              ///< false: the base is a network of none of PEFT's tasks, so that task_type is null
  bool fan_in_fan_out = false;       ///< in a file: weights of projections are [in, out] (Conv1D); the model itself knows
  LoraInit init = LoraInit::kDefault;
  int64_t pissa_niter = 0;  ///< N of "pissa_niter_N": subspace iterations of a randomised decomposition; 0: the exact one
  EvaOptions eva;
  std::optional<std::filesystem::path> init_from;  ///< adapter folder to continue from
  /// For an adapter that is used and not trained: PiSSA's and OLoRA's start is subtracted in the pair, and the base's own weights stay.
  bool keeps_base = false;
  Json config;  ///< the section as given, PEFT's keys alone: what adapter_config.json is written from
};

}  // namespace lora::peft
