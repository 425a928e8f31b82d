#include "lora/peft/lora_ga.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "peft/generators.h"
#include "peft/lora_ga_start.h"
#include "peft/lora_init.h"
#include "peft/low_rank_svd.h"
#include "peft/targets.h"
#include "peft/unquantised.h"

namespace lora::peft {

namespace {

constexpr int64_t kGradientIterations = 4;  // PEFT's niter

struct VectorNumbers {
  Tensor of_A, of_B;
};

/// Which of the 2r largest singular vectors A and B get.
VectorNumbers vector_numbers(GradientVectors direction, int64_t rank, const at::Generator& generator) {
  const auto from = [](int64_t begin, int64_t end, int64_t step) { return at::arange(begin, end, step, at::TensorOptions(at::kLong)); };
  switch (direction) {
    case GradientVectors::kFirstInA:
      return {from(0, rank, 1), from(rank, 2 * rank, 1)};
    case GradientVectors::kFirstInB:
      return {from(rank, 2 * rank, 1), from(0, rank, 1)};
    case GradientVectors::kAlternating:
      return {from(1, 2 * rank, 2), from(0, 2 * rank, 2)};
    case GradientVectors::kRandom:
      break;
  }
  const Tensor chosen = at::randperm(2 * rank, generator, at::TensorOptions(at::kLong)).slice(0, 0, rank);
  return {chosen, chosen};
}

void scale_start(const LoraGaOptions& options, const Tensor& weight_OI, int64_t first_size, const PairSize& size, double largest_of_B,
                 const at::Generator& generator, LowRankStart& start) {
  switch (options.scale) {
    case GradientScale::kStable:
      start.B_OR = start.B_OR * (std::pow(static_cast<double>(first_size), 0.25) / std::sqrt(static_cast<double>(options.stable_gamma)));
      break;
    case GradientScale::kWeightSvd:
      if (largest_of_B > 0) {
        const auto [U, S, Vh] = low_rank_svd(weight_OI.to(at::kFloat), size.rank, kGradientIterations, generator);
        start.B_OR = start.B_OR * (S[0].item<double>() / largest_of_B);
      }
      break;
    case GradientScale::kGdScale:
      start = {start.A_RI / size.scale, start.B_OR / size.scale};
      break;
    case GradientScale::kUnit:
      break;
  }
}

/// A decomposition gives 2r singular vectors only if the weight has as many.
void require_vectors(const nn::Linear& host, int64_t rank) {
  const int64_t smaller = std::min(host.in_features(), host.out_features());
  if (2 * rank > smaller) {
    config_error("adapter.init_lora_weights", "\"lora_ga\" needs two singular vectors of the gradient for each rank: found r " +
                                                  std::to_string(rank) + " for " + host.name() + ", expected at most " +
                                                  std::to_string(smaller / 2) + ", half of the smaller of its dimensions. Lower r, or add "
                                                  "a rank_pattern.");
  }
}

}  // namespace

LowRankStart lora_ga_start(const LoraGaOptions& options, const Tensor& gradient_OI, const Tensor& weight_OI, int64_t first_size,
                           const PairSize& size, at::Generator generator) {
  const int64_t width = std::min(4 * size.rank, std::min(gradient_OI.size(0), gradient_OI.size(1)));
  const auto [U, S, Vh] = low_rank_svd(gradient_OI, width, kGradientIterations, generator);
  const auto [of_A, of_B] = vector_numbers(options.direction, size.rank, generator);
  const at::Device device = gradient_OI.device();
  const Tensor S_B = S.index_select(0, of_B.to(device));
  LowRankStart start{Vh.index_select(0, of_A.to(device)), U.index_select(1, of_B.to(device)) * S_B};
  scale_start(options, weight_OI, first_size, size, S_B[0].item<double>(), generator, start);
  const at::ScalarType dtype = weight_OI.scalar_type();
  return {start.A_RI.to(dtype).to(at::kFloat).contiguous(), start.B_OR.to(dtype).to(at::kFloat).contiguous()};
}

GradientPass::GradientPass(const LoraOptions& options, nn::Model& model)
    : options_(options), model_(model), hosts_(choose_hosts(options, model, /*warns=*/false).hosts) {
  for (const nn::Linear* host : hosts_) {
    require_own_weight(options.init, *host);
    require_unquantised(host->weights().front(), "adapter.init_lora_weights",
                        "\"lora_ga\" starts from the gradient of the weight", "Use the base of plain numbers, or another initialization.");
    require_vectors(*host, pair_size(options, host->name()).rank);
  }
  model.freeze_base();
  for (const nn::Linear* host : hosts_) {
    host->weights().front().parameter().tensor.set_requires_grad(true);
  }
}

GradientPass::~GradientPass() {
  for (const nn::Linear* host : hosts_) {
    host->weights().front().parameter().tensor.mutable_grad() = Tensor();
  }
  model_.freeze_base();
}

void GradientPass::add(const Tensor& loss) {
  loss.backward();
  ++num_batches_;
}

std::vector<ModuleStart> GradientPass::starts(uint64_t seed) const {
  const at::NoGradGuard no_grad;
  std::vector<ModuleStart> starts;
  for (const nn::Linear* host : hosts_) {
    throw_if_interrupted();  // a decomposition of a large gradient takes seconds
    const Tensor& stored = host->weights().front().parameter().tensor;
    const Tensor gradient = stored.grad();
    if (!gradient.defined() || !at::isfinite(gradient).all().item<bool>()) {
      model_error(host->name() + ".weight", "has no finite gradient on the training data, so \"lora_ga\" cannot start from it");
    }
    const Tensor mean = (gradient / static_cast<double>(num_batches_)).to(at::kFloat);
    const Tensor gradient_OI = host->layout() == nn::WeightLayout::kInOut ? mean.t() : mean;
    LowRankStart start = lora_ga_start(options_.lora_ga, gradient_OI, host->weight(), stored.size(0), pair_size(options_, host->name()),
                                       generator_of(seed, a_name(*host)));
    starts.push_back({host->name(), std::move(start.A_RI), std::move(start.B_OR)});
  }
  return starts;
}

}  // namespace lora::peft
