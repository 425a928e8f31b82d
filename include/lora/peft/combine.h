#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/peft/merge.h"

namespace lora::peft {

/// Whose sign wins where adapters differ: that of the sum, or that of the most.
enum class MajoritySign { kTotal, kFrequency };
inline constexpr EnumTable<MajoritySign, 2> kMajoritySigns{{{{MajoritySign::kTotal, "total"}, {MajoritySign::kFrequency, "frequency"}}}};

/// The arguments of PEFT's add_weighted_adapter under its names.
struct CombineOptions {
  std::string method = "linear";                     ///< combination_type: one of combine_methods()
  std::optional<int64_t> svd_rank;                   ///< of the methods that end in svd; none: the largest rank of the adapters
  std::optional<double> density;                     ///< share of the values that pruning keeps, in (0, 1]
  std::optional<MajoritySign> majority_sign_method;  ///< of the ties methods; none: total
  uint64_t seed = 42;                                ///< of the dare methods: each module draws by (seed, module)
};

std::vector<std::string> combine_methods();

/// One adapter from several, each with its weight: PEFT's add_weighted_adapter. A module that not every adapter has is
/// made of those that have it. Its rank is the adapters' (linear and what prunes A and B), their sum (cat), or svd_rank
/// at most (svd); the result's scale is 1 everywhere, without rsLoRA.
///   linear                 A = Σ ±√|w s| A, B = Σ √|w s| B: not the sum of the products
///   cat                    A and B stacked: the sum of the products exactly
///   svd                    the nearest product of rank svd_rank to the sum
///   ties, dare_ties        values pruned (the smallest; at random, Yu et al. 2024), then only those of the elected sign
///                          averaged (Yadav et al. 2023); of A and B, or with _svd of the products
///   magnitude_prune, dare_linear   pruned, then summed; likewise
/// Throws config Error for an unknown method, a missing or idle option, and one adapter alone with any other method than
/// linear; model Error that lists DoRA, lora_bias and tensors held whole, which have no such sum, and modules whose shapes
/// (or, where A and B themselves are summed, ranks) differ. Throws Interrupted.
Adapter combine(const std::vector<WeightedAdapter>& adapters, const CombineOptions& options);

}  // namespace lora::peft
