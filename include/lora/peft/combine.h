#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/peft/merge.h"

namespace lora::peft {

/// Which sign is elected where adapters differ: that of the sum, or that of the majority.
enum class MajoritySign { kTotal, kFrequency };
inline constexpr EnumTable<MajoritySign, 2> kMajoritySigns{{{{MajoritySign::kTotal, "total"}, {MajoritySign::kFrequency, "frequency"}}}};

/// The arguments of PEFT's add_weighted_adapter, under its names.
struct CombineOptions {
  std::string method = "linear";                     ///< combination_type: one of combine_methods()
  std::optional<int64_t> svd_rank;                   ///< for methods that end in svd; none: the largest rank of the adapters
  std::optional<double> density;                     ///< fraction of the values that pruning keeps, in (0, 1]
  std::optional<MajoritySign> majority_sign_method;  ///< for ties methods; none: total
  uint64_t seed = 42;                                ///< for dare methods: each module samples by (seed, module)
};

std::vector<std::string> combine_methods();

/// Combines several weighted adapters into one, like PEFT's add_weighted_adapter. A module that only some adapters have is combined
/// from those. Its rank is that of the adapters (linear, and methods that prune A and B), their sum (cat), or at most svd_rank (svd);
/// the scale of the result is 1 everywhere, without rsLoRA.
///   linear                 A = Σ ±√|w s| A, B = Σ √|w s| B: not the sum of the products
///   cat                    A and B stacked: exactly the sum of the products
///   svd                    the best approximation of the sum by a product of rank svd_rank
///   ties, dare_ties        values pruned (the smallest; at random, Yu et al. 2024), then the mean of those with the elected
///                          sign (Yadav et al. 2023); applied to A and B or, with _svd, to the products
///   magnitude_prune, dare_linear   values pruned, then summed; applied in the same way
/// Adapters of IA3 are combined by linear alone, as in PEFT: each vector is the weighted sum of those of the adapters that have it.
/// Throws config Error for an unknown method, a missing or unused option, and a single adapter with another method than linear; model
/// Error for methods other than LoRA and IA3, and one that lists DoRA, lora_bias and whole tensors, which cannot be combined in this way,
/// and modules whose shapes (or, if A and B themselves are summed, ranks) differ. Throws Interrupted.
Adapter combine(const std::vector<WeightedAdapter>& adapters, const CombineOptions& options);

/// Writes what combine() returns as PEFT's folder. Returns the number of its modules.
size_t write_combined(const std::filesystem::path& folder, const Adapter& combined, const std::string& base_name);

}  // namespace lora::peft
