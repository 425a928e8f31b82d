#include "lora/peft/update_figures.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "peft/low_rank_svd.h"

namespace lora::peft {

namespace {

double effective_rank(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  if (sum == 0) {
    return 0;
  }
  double entropy = 0;
  for (const double value : values) {
    const double share = value / sum;
    entropy -= share > 0 ? share * std::log(share) : 0;
  }
  return std::exp(entropy);
}

}  // namespace

UpdateFigures figures_of(const LowRankUpdate& update) {
  const at::NoGradGuard no_grad;
  UpdateFigures figures;
  figures.norm_A = frobenius_norm(update.A_RI);
  figures.norm_B = frobenius_norm(update.B_OR);
  const Tensor values = product_singular_values(update.B_OR, update.A_RI);
  figures.singular_values.assign(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  figures.norm_BA = frobenius_norm(values);
  figures.norm_update = std::abs(update.scale) * figures.norm_BA;
  figures.effective_rank = effective_rank(figures.singular_values);
  return figures;
}

double relative_difference(const LowRankUpdate& first, const LowRankUpdate& second) {
  const at::NoGradGuard no_grad;
  if (first.A_RI.size(1) != second.A_RI.size(1) || first.B_OR.size(0) != second.B_OR.size(0)) {
    model_error(first.module, "the two adapters belong to different base models: the module's shapes differ");
  }
  const Tensor first_B = first.B_OR.to(at::kDouble) * first.scale;
  const Tensor second_B = second.B_OR.to(at::kDouble) * second.scale;
  const Tensor first_A = first.A_RI.to(at::kDouble);
  const Tensor second_A = second.A_RI.to(at::kDouble);
  const double larger = std::max(product_norm(first_B, first_A), product_norm(second_B, second_A));
  return larger > 0 ? product_norm(at::cat({first_B, -second_B}, 1), at::cat({first_A, second_A}, 0)) / larger : 0;
}

}  // namespace lora::peft
