#pragma once
#include <string>

#include "lora/base/json.h"
#include "lora/ops/activation_kinds.h"
#include "models/blocks.h"

namespace lora::models {

/// Names of an expert's projections in files that have one tensor for each of them.
struct ExpertNames {
  std::string gate, up, down;
};

struct SparseMoeOptions {
  int64_t hidden_size;
  int64_t intermediate_size;  ///< of an expert
  int64_t num_experts;
  int64_t num_experts_per_token;
  bool sums_to_one = true;   ///< the shares of a token's experts are normalised to sum to 1
  bool wide_shares = false;  ///< shares stay float32, and the products with them are rounded instead
  ops::Activation activation;
  ExpertNames names;
};

/// num_experts_per_tok, from 1 to the number of experts.
int64_t read_experts_per_token(const JsonReader& config, int64_t fallback, int64_t num_experts);

/// Throws model Error if config.json asks for the router's own loss (output_router_logits), which is not computed.
void require_no_router_loss(const JsonReader& config);

/// Scores every expert and selects the best few per token (Shazeer et al. 2017, section 2.1, without noise).
class TopKRouter : public nn::Host {
 public:
  /// Takes `name`.weight [N, D] from the source.
  TopKRouter(const std::string& name, const SparseMoeOptions& moe, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "TopKRouter"; }
  bool counts_as_linear() const override { return true; }

  struct Routing {
    Tensor shares_TK;   ///< differentiable; K experts per token
    Tensor experts_TK;  ///< int64
  };
  Routing forward(const Tensor& x_TD) const;

 private:
  nn::BaseWeight& weight_ND_;
  int64_t num_chosen_;
  bool sums_to_one_, wide_shares_;
};

/// The experts' weights: stacked as in transformers 5 (gate_up_proj [N, 2F, D] and down_proj [N, D, F]), or one tensor each as in
/// published files. Either form is used as the file stores it, and either can be packed: a stack as one matrix [N · 2F, D].
class Experts : public nn::Host {
 public:
  Experts(const std::string& name, const SparseMoeOptions& moe, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "Experts"; }
  bool counts_as_linear() const override { return true; }
  /// PEFT saves the stacked tensors.
  bool can_be_saved() const override { return fused_ && packed_.empty(); }
  /// The number of tokens per expert depends on the router.
  bool has_data_dependent_sizes() const override { return true; }

  /// Runs x_PD, the rows of pairs (token, expert) sorted by expert, through their experts. @param counts number of rows per expert.
  Tensor forward(const Tensor& x_PD, const std::vector<int64_t>& counts) const;

 private:
  struct Weights {
    std::shared_ptr<const ops::LinearWeight> gate_FD, up_FD, down_DF;
  };
  Weights of_expert(int64_t expert) const;

  bool fused_;
  int64_t intermediate_size_;
  ops::Activation activation_;
  std::vector<std::shared_ptr<const ops::LinearWeight>> packed_;  ///< the experts' parts that are packed; null: plain
};

/// Each token through the few experts that a router selects (Mixtral, Qwen3-MoE): tokens are sorted by expert, there is one group of
/// products per expert, and the results are summed with the router's shares as weights.
class SparseMoe : public FeedForward {
 public:
  SparseMoe(const std::string& name, const SparseMoeOptions& moe, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&router_, &experts_}; }
  nn::Kept kept() const override;
  int64_t width() const override { return options_.num_experts_per_token * options_.intermediate_size; }
  /// Including the rows of each expert and its output.
  int64_t working() const override { return 3 * width() + 2 * options_.num_experts_per_token * options_.hidden_size; }

 private:
  SparseMoeOptions options_;
  TopKRouter router_;
  Experts experts_;
};

}  // namespace lora::models
