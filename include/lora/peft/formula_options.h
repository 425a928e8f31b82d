#pragma once
#include <map>

#include "lora/peft/options.h"

// The options of the methods that change projections by a formula (peft/formula.h): PEFT's keys with PEFT's defaults.
namespace lora::peft {

/// The methods' peft_types.
inline constexpr const char* kIa3 = "IA3";
inline constexpr const char* kVera = "VERA";
inline constexpr const char* kLoha = "LOHA";
inline constexpr const char* kLokr = "LOKR";
inline constexpr const char* kOft = "OFT";
inline constexpr const char* kBoft = "BOFT";
inline constexpr const char* kHra = "HRA";
inline constexpr const char* kMiss = "MISS";
inline constexpr const char* kRandLora = "RANDLORA";
inline constexpr const char* kAdaLora = "ADALORA";

/// IA3 (Liu et al. 2022): learned factors of a projection's outputs, or of the inputs of feed-forward modules.
struct Ia3Options : TargetOptions {
  ModuleChoice feedforward_modules;
  bool init_ia3_weights = true;  ///< false: N(0, 1)
};

/// VeRA (Kopiczko et al. 2024): one random pair A, B for all projections, and two learned vectors for each.
struct VeraOptions : TargetOptions {
  int64_t r = 256;
  double vera_dropout = 0;
  double d_initial = 0.1;
  int64_t projection_prng_key = 0;  ///< the seed of A and B
  bool save_projection = true;      ///< whether the file holds A and B
};

/// LoHa (Hyeon-Woo et al. 2022): the elementwise product of two low-rank products.
struct LohaOptions : TargetOptions {
  int64_t r = 8;
  double alpha = 8;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  bool init_weights = true;
};

/// How LoKr's tensors start (PEFT's init_weights).
enum class LokrInit {
  kDefault,  ///< true: the first factor is zero
  kLycoris,  ///< "lycoris": the second is zero
  kRandom,   ///< false
};

/// LoKr (Yeh et al. 2024): the Kronecker product of two matrices, each of which may be a low-rank product.
struct LokrOptions : TargetOptions {
  int64_t r = 8;
  double alpha = 8;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  bool decompose_both = false;
  int64_t decompose_factor = -1;  ///< -1: the divisors next to the square root
  LokrInit init = LokrInit::kDefault;
};

/// OFT (Qiu et al. 2023, 2025): the input is multiplied by an orthogonal matrix of blocks. Exactly one of r and oft_block_size is not 0.
struct OftOptions : TargetOptions {
  int64_t r = 0;  ///< the number of blocks
  int64_t oft_block_size = 32;
  bool block_share = false;  ///< one block for all
  bool use_cayley_neumann = true;
  int64_t num_cayley_neumann_terms = 5;
  bool init_weights = true;
};

/// BOFT (Liu et al. 2024) with one butterfly factor, all that PEFT computes without its CUDA extension. Exactly one of boft_block_size and
/// boft_block_num is not 0.
struct BoftOptions : TargetOptions {
  int64_t boft_block_size = 4;
  int64_t boft_block_num = 0;
  bool init_weights = true;
};

/// HRA (Yuan et al. 2024): the input is reflected r times.
struct HraOptions : TargetOptions {
  int64_t r = 8;
  bool apply_GS = false;  ///< the reflections' directions are orthonormalised
  bool init_weights = true;
};

/// MiSS's three formulas (PEFT's init_weights).
enum class MissKind {
  kBlock,   ///< true
  kRandom,  ///< false: the same with random values
  kMini,    ///< "mini": the block repeats along the outputs
  kBat,     ///< "bat": a formula over the weight itself
};

/// MiSS (Kang and Yin 2024; was Bone): one block is added to each part of the weight.
struct MissOptions : TargetOptions {
  int64_t r = 64;
  double miss_dropout = 0;
  int64_t mini_r = 1;
  MissKind kind = MissKind::kBlock;
};

/// RandLoRA (Albert et al. 2025): a sum of random pairs that all projections share, with learned diagonals.
struct RandLoraOptions : TargetOptions {
  int64_t r = 32;
  double randlora_alpha = 640;
  double randlora_dropout = 0;
  int64_t projection_prng_key = 0;
  bool save_projection = true;
};

/// AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): pairs with singular values, of which those that matter least are removed in training.
struct AdaLoraOptions : TargetOptions {
  int64_t init_r = 12;   ///< the rank of each module at the start
  int64_t target_r = 8;  ///< the mean of the ranks at the end
  double lora_alpha = 8;
  double lora_dropout = 0;
  int64_t tinit = 0;               ///< steps before ranks are removed
  int64_t tfinal = 0;              ///< steps after the last are
  int64_t deltaT = 1;              ///< steps from one removal to the next
  double beta1 = 0.85;             ///< of the mean of a number's sensitivity
  double beta2 = 0.85;             ///< of the mean of its uncertainty
  double orth_reg_weight = 0.5;    ///< of the loss's term that keeps singular vectors orthogonal
  std::optional<int64_t> total_step;  ///< null: the run's
  /// Which of init_r ranks a stored adapter has, by module.
  std::map<std::string, std::vector<bool>> rank_pattern;
  bool init_lora_weights = true;  ///< false: N(0, 1)
};

}  // namespace lora::peft
