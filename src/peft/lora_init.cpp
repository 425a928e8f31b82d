#include "peft/lora_init.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/peft/update.h"
#include "peft/generators.h"
#include "peft/keys.h"
#include "peft/low_rank_svd.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

std::string b_name(const nn::MatrixHost& host) {
  return tensor_name(host.name(), ParameterRole::kLowRankB);
}

std::string quoted(LoraInit init) {
  return "\"" + std::string(kNamedInits.name(init)) + "\"";
}

/// Kaiming-uniform with a = sqrt(5) (He et al. 2015): U(-1/sqrt(columns), 1/sqrt(columns)), as nn.Linear itself.
void kaiming_uniform(Tensor& tensor, at::Generator generator) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.size(1)));
  tensor.uniform_(-bound, bound, std::move(generator));
}

LowRankStart random_start(LoraInit init, const nn::MatrixHost& host, int64_t rank, uint64_t seed) {
  Tensor A_RI = at::empty({rank, host.matrix()->in_features()}, at::kFloat);
  Tensor B_OR = at::zeros({host.matrix()->out_features(), rank}, at::kFloat);
  if (init == LoraInit::kGaussian) {
    A_RI.normal_(0.0, 1.0 / static_cast<double>(rank), generator_of(seed, a_name(host)));
  } else {
    kaiming_uniform(A_RI, generator_of(seed, a_name(host)));
  }
  if (init == LoraInit::kRandom) {
    kaiming_uniform(B_OR, generator_of(seed, b_name(host)));
  }
  return {A_RI, B_OR};
}

/// PEFT's orthogonal_init: A reads from one half of an orthonormal basis of R^rank and B from the other, so that B A is
/// zero although neither factor is.
LowRankStart orthogonal_start(const nn::MatrixHost& host, int64_t rank, uint64_t seed) {
  if (rank % 2 != 0) {
    config_error("adapter.init_lora_weights", "\"orthogonal\" needs an even rank: found r " + std::to_string(rank) + " for " + host.name() +
                                                  ". Change r or rank_pattern, or choose another initialization.");
  }
  at::Generator a_numbers = generator_of(seed, a_name(host));
  at::Generator b_numbers = generator_of(seed, b_name(host));
  const int64_t half = rank / 2;
  const Tensor basis_RR = std::get<0>(at::linalg_qr(at::randn({rank, rank}, a_numbers, at::kFloat)));
  const Tensor A_IR = at::randn({host.matrix()->in_features(), half}, a_numbers, at::kFloat).matmul(basis_RR.slice(0, 0, rank, 2));
  const Tensor B_OR = at::randn({host.matrix()->out_features(), half}, b_numbers, at::kFloat).matmul(basis_RR.slice(0, 1, rank, 2));
  return {(A_IR / 10).t().contiguous(), B_OR / 10};
}

/// Throws if the initialization cannot be a part of the weight.
void require_part(LoraInit init, const Tensor& weight_OI, int64_t rank, const std::string& module) {
  require_rank_of_part(init, weight_OI.size(0), weight_OI.size(1), rank, module);
  if (!at::isfinite(weight_OI).all().item<bool>()) {
    model_error(module + ".weight", "has a value that is not finite, so it cannot be decomposed");
  }
}

/// PiSSA: the largest singular values, half of each in A and half in B.
LowRankStart pissa_start(int64_t niter, const Tensor& weight, int64_t rank, double scale, const at::Generator& generator) {
  const Tensor weight_OI = weight.to(at::kFloat);
  const auto [U, S, Vh] = niter > 0 ? low_rank_svd(weight_OI, rank, niter, generator) : at::linalg_svd(weight_OI, /*full_matrices=*/false);
  const Tensor root_R = (S.slice(0, 0, rank) / scale).sqrt();
  return {root_R.unsqueeze(1) * Vh.slice(0, 0, rank), U.slice(1, 0, rank) * root_R};
}

/// OLoRA: the first columns of Q and rows of R; the scale is applied with the product.
LowRankStart olora_start(const Tensor& weight_OI, int64_t rank) {
  const auto [Q, R] = at::linalg_qr(weight_OI.to(at::kFloat));
  return {R.slice(0, 0, rank), Q.slice(1, 0, rank)};
}

LowRankStart part_of_host(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, double scale, uint64_t seed) {
  require_own_weight(options.init, host);
  if (options.pissa_niter > 0) {
    require_part(options.init, host.matrix()->dequantised(), rank, host.name());
    return pissa_start(options.pissa_niter, host.matrix()->dequantised(), rank, scale, generator_of(seed, a_name(host)));
  }
  return part_of_weight(options, host.matrix()->dequantised(), rank, scale, host.name());
}

LowRankStart start_of(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, double scale, uint64_t seed) {
  switch (options.init) {
    case LoraInit::kOrthogonal:
      return orthogonal_start(host, rank, seed);
    case LoraInit::kPissa:
    case LoraInit::kOlora:
      return part_of_host(options, host, rank, scale, seed);
    default:
      return random_start(options.init, host, rank, seed);
  }
}

}  // namespace

PairSize pair_size(const LoraOptions& options, const std::string& module) {
  const int64_t rank = pattern_value(options.rank_pattern, module, options.r, "adapter.rank_pattern");
  const double alpha = pattern_value(options.alpha_pattern, module, options.lora_alpha, "adapter.alpha_pattern");
  return {rank, alpha, scale_of(alpha, rank, options.use_rslora)};
}

void require_own_weight(LoraInit init, const nn::MatrixHost& host) {
  if (host.tied()) {
    config_error("adapter.init_lora_weights", quoted(init) + " changes the weight: found " + host.name() +
                                                  ", which shares its weight with the embedding, expected a module with its own weight. "
                                                  "Exclude it.");
  }
}

void require_rank_of_part(LoraInit init, int64_t outputs, int64_t inputs, int64_t rank, const std::string& module) {
  const int64_t largest = std::min(outputs, inputs);
  if (rank > largest) {
    config_error("adapter.init_lora_weights", quoted(init) + " starts from a part of the weight: found r " + std::to_string(rank) +
                                                  " for " + module + ", expected at most the smaller of its dimensions, " +
                                                  std::to_string(largest) + ". Lower r, or add a rank_pattern.");
  }
}

std::string a_name(const nn::MatrixHost& host) {
  return tensor_name(host.name(), ParameterRole::kLowRankA);
}

LowRankStart low_rank_start(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, double scale, uint64_t seed) {
  throw_if_interrupted();  // a decomposition of a large weight takes seconds
  const at::NoGradGuard no_grad;
  const LowRankStart start = start_of(options, host, rank, scale, seed);
  const at::Device device = host.matrix()->device();
  return {start.A_RI.to(device).contiguous(), start.B_OR.to(device).contiguous()};
}

LowRankStart part_of_weight(const LoraOptions& options, const Tensor& weight_OI, int64_t rank, double scale, const std::string& module) {
  require_part(options.init, weight_OI, rank, module);
  return options.init == LoraInit::kPissa ? pissa_start(/*niter=*/0, weight_OI, rank, scale, {}) : olora_start(weight_OI, rank);
}

LowRankStart embedding_start(const LoraOptions& options, const nn::Embedding& host, int64_t rank, uint64_t seed) {
  const at::NoGradGuard no_grad;
  Tensor A_RV = at::zeros({rank, host.num_tokens()}, at::kFloat);
  if (options.init == LoraInit::kRandom) {
    A_RV.normal_(0.0, 1.0, generator_of(seed, tensor_name(host.name(), ParameterRole::kEmbeddingA)));
  }
  const at::Generator generator = generator_of(seed, tensor_name(host.name(), ParameterRole::kEmbeddingB));
  const Tensor B_DR = at::empty({host.dim(), rank}, at::kFloat).normal_(0.0, 1.0, generator);
  const at::Device device = host.matrix()->device();
  return {A_RV.to(device), B_DR.to(device)};
}

Tensor low_rank_bias_start(const LoraOptions& options, const nn::MatrixHost& host, int64_t rank, uint64_t seed) {
  const at::NoGradGuard no_grad;
  Tensor bias_O = at::zeros({host.matrix()->out_features()}, at::kFloat);
  if (options.init == LoraInit::kRandom) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(rank));
    bias_O.uniform_(-bound, bound, generator_of(seed, tensor_name(host.name(), ParameterRole::kLowRankBias)));
  }
  return bias_O.to(host.matrix()->device());
}

}  // namespace lora::peft
