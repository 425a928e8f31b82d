#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "lora/base/enum_table.h"

namespace lora::optim {

/// Names as in transformers' TrainingArguments.optim, in addition to lion, lora_fa and the short names of paged optimisers.
enum class OptimizerKind {
  kAdamW,
  kAdamWFused,
  kAdamW8bit,
  kAdamWBnb8bit,
  kPagedAdamW,
  kPagedAdamW32bit,
  kPagedAdamW8bit,
  kAdafactor,
  kLion,
  kLion32bit,
  kLion8bit,
  kPagedLion,
  kPagedLion32bit,
  kPagedLion8bit,
  kSgd,
  kLoraFa,
};
inline constexpr EnumTable<OptimizerKind, 16> kOptimizers{{{{OptimizerKind::kAdamWFused, "adamw_torch_fused"},
                                                            {OptimizerKind::kAdamW, "adamw_torch"},
                                                            {OptimizerKind::kAdamW8bit, "adamw_8bit"},
                                                            {OptimizerKind::kAdamWBnb8bit, "adamw_bnb_8bit"},
                                                            {OptimizerKind::kPagedAdamW, "paged_adamw"},
                                                            {OptimizerKind::kPagedAdamW32bit, "paged_adamw_32bit"},
                                                            {OptimizerKind::kPagedAdamW8bit, "paged_adamw_8bit"},
                                                            {OptimizerKind::kAdafactor, "adafactor"},
                                                            {OptimizerKind::kLion, "lion"},
                                                            {OptimizerKind::kLion32bit, "lion_32bit"},
                                                            {OptimizerKind::kLion8bit, "lion_8bit"},
                                                            {OptimizerKind::kPagedLion, "paged_lion"},
                                                            {OptimizerKind::kPagedLion32bit, "paged_lion_32bit"},
                                                            {OptimizerKind::kPagedLion8bit, "paged_lion_8bit"},
                                                            {OptimizerKind::kSgd, "sgd"},
                                                            {OptimizerKind::kLoraFa, "lora_fa"}}}};

/// What other code must know about a kind.
struct OptimizerFacts {
  OptimizerKind kind;
  bool keeps_moments;  ///< one or two per element, with beta1 and beta2 as their decay rates
  bool uses_epsilon;
  bool is_paged;  ///< on a GPU, moments move to host memory under pressure
};
inline constexpr std::array<OptimizerFacts, 16> kOptimizerFacts{{
    {OptimizerKind::kAdamWFused, true, true, false},
    {OptimizerKind::kAdamW, true, true, false},
    {OptimizerKind::kAdamW8bit, true, true, false},
    {OptimizerKind::kAdamWBnb8bit, true, true, false},
    {OptimizerKind::kPagedAdamW, true, true, true},
    {OptimizerKind::kPagedAdamW32bit, true, true, true},
    {OptimizerKind::kPagedAdamW8bit, true, true, true},
    {OptimizerKind::kAdafactor, false, false, false},
    {OptimizerKind::kLion, true, false, false},
    {OptimizerKind::kLion32bit, true, false, false},
    {OptimizerKind::kLion8bit, true, false, false},
    {OptimizerKind::kPagedLion, true, false, true},
    {OptimizerKind::kPagedLion32bit, true, false, true},
    {OptimizerKind::kPagedLion8bit, true, false, true},
    {OptimizerKind::kSgd, false, false, false},
    {OptimizerKind::kLoraFa, true, true, false},
}};
static_assert(kOptimizerFacts.size() == kOptimizers.entries.size());

inline constexpr const OptimizerFacts& facts_of(OptimizerKind kind) {
  return *std::find_if(kOptimizerFacts.begin(), kOptimizerFacts.end(), [kind](const auto& facts) { return facts.kind == kind; });
}

/// LoRA+ (Hayou et al. 2024): B is trained with a higher learning rate than A. Names, groups and defaults are those of PEFT's
/// create_loraplus_optimizer: B, biases and other vectors have lr_ratio times the learning rate, A and B of an embedding their own
/// rate, and everything else the learning rate itself.
struct LoraPlusOptions {
  std::optional<double> lr_ratio = std::nullopt;  ///< none: LoRA+ is off
  double lr_embedding = 1e-6;                     ///< at the peak of the learning rate schedule
  double weight_decay = 0.0;                      ///< replaces OptimizerOptions' (biases and norms are never decayed)
};

/// How weights of bfloat16 or float16 are updated. In these dtypes a step that is small next to the weight is rounded away.
enum class WeightUpdate {
  kInPlace,             ///< computed in the weights' dtype, or rounded to the nearest number of it
  kMasterWeights,       ///< on float32 copies that are part of the state; the weights are the rounded copies (Micikevicius et al. 2018)
  kStochasticRounding,  ///< in float32, then rounded up or down at random, so that the mean is right (bfloat16 only)
};
inline constexpr EnumTable<WeightUpdate, 3> kWeightUpdates{{{{WeightUpdate::kInPlace, "in_place"},
                                                             {WeightUpdate::kMasterWeights, "master_weights"},
                                                             {WeightUpdate::kStochasticRounding, "stochastic_rounding"}}}};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamWFused;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  LoraPlusOptions loraplus = {};
  WeightUpdate weight_update = WeightUpdate::kInPlace;
  uint64_t rounding_seed = 0;             ///< of stochastic rounding, whose random bits also depend on step, parameter and element
  std::filesystem::path state_file = {};  ///< folder for a mapped file that holds the moments; empty: they are in memory
};

/// Names as in transformers' SchedulerType.
enum class ScheduleKind {
  kLinear,
  kCosine,
  kCosineWithRestarts,
  kPolynomial,
  kConstant,
  kConstantWithWarmup,
  kInverseSqrt,
  kWarmupStableDecay,
};
inline constexpr EnumTable<ScheduleKind, 8> kSchedules{{{{ScheduleKind::kLinear, "linear"},
                                                         {ScheduleKind::kCosine, "cosine"},
                                                         {ScheduleKind::kCosineWithRestarts, "cosine_with_restarts"},
                                                         {ScheduleKind::kPolynomial, "polynomial"},
                                                         {ScheduleKind::kConstant, "constant"},
                                                         {ScheduleKind::kConstantWithWarmup, "constant_with_warmup"},
                                                         {ScheduleKind::kInverseSqrt, "inverse_sqrt"},
                                                         {ScheduleKind::kWarmupStableDecay, "warmup_stable_decay"}}}};

/// Shape of warm-up and decay in warmup_stable_decay.
enum class RampKind { kLinear, kCosine, kOneMinusSqrt };
inline constexpr EnumTable<RampKind, 3> kRamps{
    {{{RampKind::kLinear, "linear"}, {RampKind::kCosine, "cosine"}, {RampKind::kOneMinusSqrt, "1-sqrt"}}}};

/// Factors of the learning rate by optimiser step, equal to transformers.optimization.get_scheduler. The optional values are
/// `lr_scheduler_kwargs`, with transformers' defaults.
struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kLinear;
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;
  double num_cycles = -1;         ///< cosine: 0.5, cosine_with_restarts: 1, warmup_stable_decay: 0.5 if negative
  double power = 1.0;             ///< polynomial
  double lr_end = 1e-7;           ///< polynomial
  int64_t timescale = -1;         ///< inverse_sqrt; if negative, warmup_steps, or 10,000 without warm-up
  int64_t num_decay_steps = -1;   ///< warmup_stable_decay; required there
  int64_t num_stable_steps = -1;  ///< warmup_stable_decay; if negative, the steps that warm-up and decay leave
  double min_lr_ratio = 0.0;      ///< warmup_stable_decay
  RampKind warmup_type = RampKind::kLinear;
  RampKind decay_type = RampKind::kCosine;
};

}  // namespace lora::optim
