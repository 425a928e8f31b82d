#pragma once
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::peft {

/// Measures of one update, computed in float64 without forming B A: Frobenius norms, and the singular values of B A, which are those
/// of the product of the Gram matrices' Cholesky factors, [R, R].
struct UpdateFigures {
  double norm_A = 0;
  double norm_B = 0;
  double norm_BA = 0;
  double norm_update = 0;               ///< of scale · B A
  std::vector<double> singular_values;  ///< of B A, in descending order
  /// The exponential of the entropy of the singular values' shares, exp(-Σ p ln p) with p = σ / Σ σ (Roy and Vetterli
  /// 2007, "The effective rank"): from 1 to the rank; 0 if B A is zero.
  double effective_rank = 0;
};

UpdateFigures figures_of(const LowRankUpdate& update);

/// The distance of two updates of one module: ‖s₁ B₁ A₁ - s₂ B₂ A₂‖ divided by the larger of the two norms, from 0 (equal) to 2. Ranks
/// may differ; throws model Error if the shapes differ.
double relative_difference(const LowRankUpdate& first, const LowRankUpdate& second);

}  // namespace lora::peft
