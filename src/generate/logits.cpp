#include "lora/generate/logits.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lora::generate {

namespace {

constexpr double kFiltered = -std::numeric_limits<double>::infinity();

/// Makes tokens that occurred before less likely: positive logits are divided by the penalty, negative ones multiplied.
Tensor penalize_repetition(const Tensor& logits_DV, const std::vector<const std::vector<int32_t>*>& seen, double penalty) {
  const Tensor penalized_DV = logits_DV.clone();
  for (size_t d = 0; d < seen.size(); ++d) {
    const Tensor ids = at::tensor(*seen[d], at::kInt).to(at::kLong).to(logits_DV.device());
    const Tensor before = logits_DV[static_cast<int64_t>(d)].index_select(0, ids);
    penalized_DV[static_cast<int64_t>(d)].index_copy_(0, ids, at::where(before < 0, before * penalty, before / penalty));
  }
  return penalized_DV;
}

/// Keeps the k largest logits, and those equal to the k-th.
Tensor keep_top_k(const Tensor& logits_DV, int64_t k) {
  const Tensor largest_Dk = std::get<0>(at::topk(logits_DV, std::min(k, logits_DV.size(1))));
  return logits_DV.masked_fill(logits_DV < largest_Dk.narrow(1, largest_Dk.size(1) - 1, 1), kFiltered);
}

/// Keeps the smallest set of most likely tokens whose total probability is at least p.
Tensor keep_top_p(const Tensor& logits_DV, double p) {
  const auto [rising_DV, order_DV] = at::sort(logits_DV, /*dim=*/-1, /*descending=*/false);
  const Tensor removed_DV = at::softmax(rising_DV, -1).cumsum(-1) <= 1.0 - p;
  removed_DV.narrow(1, removed_DV.size(1) - 1, 1).fill_(false);  // the most likely token is always kept
  return logits_DV.masked_fill(removed_DV.scatter(1, order_DV, removed_DV), kFiltered);
}

/// Keeps tokens whose probability is at least p times that of the most likely token.
Tensor keep_min_p(const Tensor& logits_DV, double p) {
  const Tensor probabilities_DV = at::softmax(logits_DV, -1);
  const Tensor likeliest_D1 = probabilities_DV.amax(-1, /*keepdim=*/true);
  return logits_DV.masked_fill(probabilities_DV < p * likeliest_D1, kFiltered);
}

std::vector<int32_t> on_host(const Tensor& ids_D) {
  const Tensor host_D = ids_D.to(at::kInt).cpu().contiguous();
  return {host_D.data_ptr<int32_t>(), host_D.data_ptr<int32_t>() + host_D.numel()};
}

}  // namespace

Tensor process_logits(const Tensor& logits_DV, const std::vector<const std::vector<int32_t>*>& seen, const GenerationOptions& options) {
  Tensor processed_DV = logits_DV.to(at::kFloat);
  if (options.repetition_penalty != 1.0) {
    processed_DV = penalize_repetition(processed_DV, seen, options.repetition_penalty);
  }
  if (options.greedy()) {
    return processed_DV;
  }
  processed_DV = processed_DV / options.temperature;
  if (options.top_k > 0) {
    processed_DV = keep_top_k(processed_DV, options.top_k);
  }
  if (options.top_p < 1.0) {
    processed_DV = keep_top_p(processed_DV, options.top_p);
  }
  if (options.min_p > 0.0) {
    processed_DV = keep_min_p(processed_DV, options.min_p);
  }
  return processed_DV;
}

std::vector<int32_t> choose_greedily(const Tensor& logits_DV) {
  return on_host(logits_DV.argmax(-1));
}

std::vector<int32_t> choose_by_draw(const Tensor& logits_DV, const std::vector<double>& draws) {
  const Tensor cumulative_DV = at::softmax(logits_DV.to(at::kDouble), -1).cumsum(-1);
  const Tensor total_D1 = cumulative_DV.narrow(1, cumulative_DV.size(1) - 1, 1);
  const Tensor target_D1 = at::tensor(draws, at::kDouble).to(logits_DV.device()).unsqueeze(1) * total_D1;
  const Tensor chosen_D = (cumulative_DV <= target_D1).sum(-1);
  // A target that is rounded up to the total must not select a token after the last one with a probability.
  const Tensor last_D = (cumulative_DV < total_D1).sum(-1);
  return on_host(at::minimum(chosen_D, last_D));
}

}  // namespace lora::generate
