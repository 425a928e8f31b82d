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

/// How lora_A and lora_B are initialized (PEFT's init_lora_weights).
enum class LoraInit {
  kDefault,     ///< true: A Kaiming-uniform with a = sqrt(5), B zero
  kRandom,      ///< false: A as above, B Kaiming-uniform too (PEFT: "not a no-op", for tests)
  kGaussian,    ///< "gaussian": A ~ N(0, 1/r), B zero
  kOrthogonal,  ///< "orthogonal": random A and B whose product is zero; even ranks only
  kPissa,       ///< "pissa", "pissa_niter_N": the weight's largest singular values, subtracted from it (Meng et al. 2024)
  kOlora,       ///< "olora": the leading part of its QR decomposition, subtracted from it (Büyükakyüz 2024)
  kLoftq,       ///< "loftq": the largest singular values of the error that quantising the base makes (Li et al. 2023)
  kEva,         ///< "eva": A from activations on the data (Paischer et al. 2024), B zero
  kCorda,       ///< "corda": the part of the weight that matters most, or least, for the data, subtracted from it (Yang et al. 2024)
  kLoraGa,      ///< "lora_ga": singular vectors of the weight's gradient on the data, subtracted from it (Wang et al. 2024)
};

/// The initializations with a name; PEFT also has true, false and "pissa_niter_N".
inline constexpr EnumTable<LoraInit, 8> kNamedInits{{{{LoraInit::kGaussian, "gaussian"},
                                                      {LoraInit::kOrthogonal, "orthogonal"},
                                                      {LoraInit::kPissa, "pissa"},
                                                      {LoraInit::kOlora, "olora"},
                                                      {LoraInit::kLoftq, "loftq"},
                                                      {LoraInit::kEva, "eva"},
                                                      {LoraInit::kCorda, "corda"},
                                                      {LoraInit::kLoraGa, "lora_ga"}}}};

/// Whether the initial B A is subtracted from the base weight, so that the model starts unchanged.
constexpr bool changes_base(LoraInit init) {
  return init == LoraInit::kPissa || init == LoraInit::kOlora || init == LoraInit::kCorda || init == LoraInit::kLoraGa;
}

/// Whether the initialization needs a pass over the training data.
constexpr bool starts_from_data(LoraInit init) {
  return init == LoraInit::kEva || init == LoraInit::kCorda || init == LoraInit::kLoraGa;
}

/// Which biases of the base are trained (PEFT's bias).
enum class TrainedBias {
  kNone,
  kAll,       ///< all biases of the model
  kLoraOnly,  ///< the biases of the adapted modules ("lora_only", "oft_only", …)
};
inline constexpr EnumTable<TrainedBias, 3> kTrainedBiases{
    {{{TrainedBias::kNone, "none"}, {TrainedBias::kAll, "all"}, {TrainedBias::kLoraOnly, "lora_only"}}}};

/// Tokens with trained rows in one layer (PEFT's trainable_token_indices).
struct TokenIndices {
  std::string layer;         ///< the end of the layer's name; "": the input embeddings
  std::vector<int64_t> ids;  ///< in the order of the rows in the file
};

/// PEFT's eva_config.
struct EvaOptions {
  double rho = 2.0;                    ///< a module's rank grows to at most rho times the configured one
  double tau = 0.99;                   ///< a component has converged if the cosine between its old and new direction is at least tau
  bool use_label_mask = true;          ///< count only tokens with a label
  int64_t label_mask_value = -100;     ///< the label of tokens that do not count
  bool whiten = false;                 ///< divide each direction by the square root of its singular value
  bool adjust_scaling_factors = true;  ///< change lora_alpha with the rank, so that the scale is unchanged
};

/// Which singular values of the weight times the covariance of its input the adapter gets.
enum class CordaMethod {
  kInstructionPreviewed,  ///< "ipm": the largest, so that the adapter starts with what the data use most
  kKnowledgePreserved,    ///< "kpm": the smallest, so that what the data use stays in the base
};
inline constexpr EnumTable<CordaMethod, 2> kCordaMethods{
    {{{CordaMethod::kInstructionPreviewed, "ipm"}, {CordaMethod::kKnowledgePreserved, "kpm"}}}};

/// PEFT's corda_config.
struct CordaOptions {
  CordaMethod method = CordaMethod::kInstructionPreviewed;
  bool use_float16_for_covariance = false;  ///< add the covariance up in the model's dtype rather than in float32
  int64_t num_documents = 256;              ///< not PEFT's: the number of training documents, at most an epoch
};

/// Which of the gradient's 2r largest singular vectors A and B get (PEFT's direction).
enum class GradientVectors {
  kFirstInA,     ///< "ArB2r": A the first r, B the others
  kFirstInB,     ///< "A2rBr": B the first r, A the others
  kAlternating,  ///< "ArBr": B those with even numbers, from 0, A the others
  kRandom,       ///< "random": both the same r of them
};
inline constexpr EnumTable<GradientVectors, 4> kGradientVectors{{{{GradientVectors::kFirstInA, "ArB2r"},
                                                                   {GradientVectors::kFirstInB, "A2rBr"},
                                                                   {GradientVectors::kAlternating, "ArBr"},
                                                                   {GradientVectors::kRandom, "random"}}}};

/// How LoRA-GA scales its start (PEFT's scale).
enum class GradientScale {
  kStable,     ///< B by out_features^(1/4) / sqrt(stable_gamma)
  kWeightSvd,  ///< B so that its largest singular value is that of the weight
  kGdScale,    ///< A and B by 1 / (lora_alpha / r)
  kUnit,       ///< not at all
};
inline constexpr EnumTable<GradientScale, 4> kGradientScales{{{{GradientScale::kStable, "stable"},
                                                                {GradientScale::kWeightSvd, "weight_svd"},
                                                                {GradientScale::kGdScale, "gd_scale"},
                                                                {GradientScale::kUnit, "unit"}}}};

/// PEFT's lora_ga_config.
struct LoraGaOptions {
  GradientVectors direction = GradientVectors::kFirstInA;
  GradientScale scale = GradientScale::kStable;
  int64_t stable_gamma = 16;
  int64_t num_batches = 64;  ///< not PEFT's: the number of micro-batches whose gradients are averaged, at most an epoch
};

/// A choice of modules: PEFT's target_modules and exclude_modules.
struct ModuleChoice {
  enum class Kind { kNone, kList, kRegex, kAllLinear };
  Kind kind = Kind::kNone;
  std::vector<std::string> names;  ///< kList: whole names, or suffixes after a '.'
  std::string regex;               ///< kRegex: must match the whole name
};

/// What the options of every method have: PEFT's PeftConfig, and where the adapter starts.
struct AdapterOptions {
  std::vector<std::string> modules_to_save;        ///< ends of the names of modules that are trained whole
  std::vector<std::string> task_modules;           ///< entries of modules_to_save that the task adds; the model need not have all of them
  bool has_task = true;                            ///< false: the base has none of PEFT's tasks, so task_type is null
  std::optional<std::filesystem::path> init_from;  ///< folder of an adapter to start from
  bool keeps_base = false;                         ///< the adapter is used but not trained, and the base must not be changed
  Json config;                                     ///< the section as given, with only PEFT's keys: the source for adapter_config.json
};

/// The options of a method that trains more of the base than its own updates: what attach_extra_modules() needs.
struct ExtraOptions : AdapterOptions {
  TrainedBias bias = TrainedBias::kNone;
  std::vector<TokenIndices> trainable_token_indices;
  bool ensure_weight_tying = false;  ///< embeddings and a tied head are trained together
};

/// The options of a method that adapts modules: which ones.
struct TargetOptions : ExtraOptions {
  ModuleChoice target_modules;  ///< kNone: the family's default
  ModuleChoice exclude_modules;
  std::optional<std::vector<int64_t>> layers_to_transform;
  std::vector<std::string> layers_pattern;
  bool fan_in_fan_out = false;  ///< of a stored adapter: weights of projections are [in, out] (Conv1D)
};

/// LoRA's peft_type.
inline constexpr const char* kLora = "LORA";

/// The supported keys of PEFT's adapter_config.json for LoRA, with PEFT's names, meaning and defaults. If keeps_base, the pair subtracts
/// PiSSA's or OLoRA's initialization.
struct LoraOptions : TargetOptions {
  int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0.0;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  ///< in the file's order, because the first match counts
  std::vector<std::pair<std::string, double>> alpha_pattern;
  bool use_rslora = false;
  bool use_dora = false;   ///< DoRA: the lengths of the weight's rows are trained (Liu et al. 2024)
  bool lora_bias = false;  ///< lora_B has a bias
  LoraInit init = LoraInit::kDefault;
  int64_t pissa_niter = 0;  ///< N of "pissa_niter_N": subspace iterations of a randomised decomposition; 0: exact
  EvaOptions eva;
  CordaOptions corda;
  LoraGaOptions lora_ga;
};

/// What the methods have in common that learn virtual tokens: PEFT's PromptLearningConfig.
struct PromptOptions : ExtraOptions {
  int64_t num_virtual_tokens = 0;              ///< 0: not given
  std::optional<int64_t> encoder_hidden_size;  ///< of the network that computes the virtual tokens; none: token_dim
  /// Sizes of the base as PEFT writes them, which must be those of the model; none: not given.
  std::optional<int64_t> token_dim, num_layers, num_attention_heads, num_transformer_submodules;
};

inline constexpr const char* kPrefixTuning = "PREFIX_TUNING";

/// Prefix tuning (Li & Liang 2021): PEFT's PrefixTuningConfig.
struct PrefixOptions : PromptOptions {
  bool prefix_projection = false;           ///< a network computes the keys and values
  std::optional<std::string> init_weights;  ///< "zero"; none: random
};

inline constexpr const char* kPromptTuning = "PROMPT_TUNING";

/// How the rows of prompt tuning are initialised.
enum class PromptInit {
  kRandom,       ///< N(0, 1), which is large next to most embeddings
  kSampleVocab,  ///< the embeddings of random tokens
  kText,         ///< the embeddings of a text's tokens, repeated or cut
};
inline constexpr EnumTable<PromptInit, 3> kPromptInits{
    {{{PromptInit::kRandom, "RANDOM"}, {PromptInit::kSampleVocab, "SAMPLE_VOCAB"}, {PromptInit::kText, "TEXT"}}}};

/// Prompt tuning (Lester et al. 2021): PEFT's PromptTuningConfig.
struct PromptTuningOptions : PromptOptions {
  PromptInit prompt_tuning_init = PromptInit::kRandom;
  std::optional<std::string> prompt_tuning_init_text;
  std::optional<std::string> tokenizer_name_or_path;
  std::vector<int32_t> text_ids;  ///< the tokens of the text, which whoever has a tokenizer sets before the adapter is attached
};

inline constexpr const char* kPTuning = "P_TUNING";

/// The network that computes P-tuning's virtual tokens.
enum class PromptNetwork { kMlp, kLstm };
inline constexpr EnumTable<PromptNetwork, 2> kPromptNetworks{{{{PromptNetwork::kMlp, "MLP"}, {PromptNetwork::kLstm, "LSTM"}}}};

/// P-tuning (Liu et al. 2021): PEFT's PromptEncoderConfig.
struct PTuningOptions : PromptOptions {
  PromptNetwork encoder_reparameterization_type = PromptNetwork::kMlp;
  int64_t encoder_num_layers = 2;  ///< of the LSTM
};

}  // namespace lora::peft
