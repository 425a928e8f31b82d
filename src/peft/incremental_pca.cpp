#include "peft/incremental_pca.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "peft/low_rank_svd.h"

namespace lora::peft {

namespace {

constexpr uint64_t kSeed = 42;
constexpr int64_t kPcaIterations = 4;
constexpr int64_t kOversampling = 2;  ///< computed directions per component

/// Flips each row so that its entry of the largest magnitude is positive: a decomposition does not determine the signs.
Tensor with_settled_signs(const Tensor& Vh) {
  const Tensor largest = Vh.abs().argmax(1, /*keepdim=*/true);
  return Vh * Vh.gather(1, largest).sign();
}

}  // namespace

IncrementalPca::Moments IncrementalPca::with(const Tensor& rows_ND) const {
  const auto added = static_cast<double>(rows_ND.size(0));
  const auto before = static_cast<double>(moments_.count);
  const double total = before + added;
  const Tensor sum_D = rows_ND.sum(0, /*keepdim=*/false, at::kDouble);
  const Tensor centred_ND = rows_ND - sum_D / added;
  Tensor unnormalized_D =
      centred_ND.square().sum(0, /*keepdim=*/false, at::kDouble) - centred_ND.sum(0, /*keepdim=*/false, at::kDouble).square() / added;
  if (moments_.count == 0) {
    return {sum_D / total, unnormalized_D / total, rows_ND.size(0)};
  }
  const Tensor last_sum_D = moments_.mean_D * before;
  const double ratio = before / added;
  unnormalized_D = moments_.variance_D * before + unnormalized_D + (last_sum_D / ratio - sum_D).square() * (ratio / total);
  return {(last_sum_D + sum_D) / total, unnormalized_D / total, moments_.count + rows_ND.size(0)};
}

void IncrementalPca::add(const Tensor& rows_ND) {
  const Moments moments = with(rows_ND);
  Tensor stacked;
  if (moments_.count == 0) {
    stacked = (rows_ND - moments.mean_D).to(rows_ND.scalar_type());
  } else {
    // The components so far stand for the earlier rows, and one more row accounts for the change of the mean.
    const Tensor mean_D = rows_ND.mean(0);
    const double weight =
        std::sqrt(static_cast<double>(moments_.count) / static_cast<double>(moments.count) * static_cast<double>(rows_ND.size(0)));
    const Tensor moved_1D = (weight * (moments_.mean_D - mean_D)).unsqueeze(0);
    const Tensor known_CD = singular_values_C_.unsqueeze(1) * components_CD_;
    stacked = at::cat({known_CD.to(at::kDouble), (rows_ND - mean_D).to(at::kDouble), moved_1D});
  }
  const auto [U, S, Vh] = low_rank_svd(stacked, kOversampling * num_components_, kPcaIterations, at::detail::createCPUGenerator(kSeed));
  const auto total = static_cast<double>(moments.count);
  components_CD_ = with_settled_signs(Vh).slice(0, 0, num_components_);
  singular_values_C_ = S.slice(0, 0, num_components_);
  ratio_C_ = singular_values_C_.square() / (moments.variance_D * total).sum().to(S.scalar_type());
  moments_ = moments;
}

}  // namespace lora::peft
