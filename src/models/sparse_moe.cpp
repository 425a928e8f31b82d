// T tokens, D hidden size, N experts, K experts per token, P = T · K pairs of a token and an expert, F intermediate size.
#include "models/sparse_moe.h"

#include <ATen/ATen.h>

#include <numeric>

#include "lora/ops/gated_activation.h"
#include "lora/ops/lora_linear.h"
#include "lora/ops/packed_weight.h"
#include "lora/quantization/selected_rows.h"
#include "models/config_keys.h"

namespace lora::models {

namespace {

std::vector<int64_t> row_range(int64_t begin, int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

}  // namespace

int64_t read_experts_per_token(const JsonReader& config, int64_t fallback, int64_t num_experts) {
  const int64_t chosen = read_size(config, "num_experts_per_tok", fallback);
  if (chosen > num_experts) {
    config.fail("num_experts_per_tok", "at most the number of experts (" + std::to_string(num_experts) + ")");
  }
  return chosen;
}

void require_no_router_loss(const JsonReader& config) {
  if (config.boolean("output_router_logits", false)) {
    config.fail("output_router_logits", "false: the router's own loss (router_aux_loss_coef) is not supported");
  }
}

TopKRouter::TopKRouter(const std::string& name, const SparseMoeOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : Host(name),
      weight_ND_(
          add_weight("weight", source.get(name + ".weight", {o.num_experts, o.hidden_size}, io::WeightRole::kLinear).to(options), true)),
      num_chosen_(o.num_experts_per_token),
      sums_to_one_(o.sums_to_one),
      wide_shares_(o.wide_shares) {}

TopKRouter::Routing TopKRouter::forward(const Tensor& x_TD) const {
  const Tensor logits_TN = at::linear(x_TD, weight_ND_.current());
  const at::ScalarType wide = at::promote_types(logits_TN.scalar_type(), at::kFloat);
  auto [shares_TK, experts_TK] = at::softmax(logits_TN.to(wide), -1).topk(num_chosen_, -1);
  if (sums_to_one_) {
    shares_TK = shares_TK / shares_TK.sum(-1, /*keepdim=*/true);
  }
  return {wide_shares_ ? shares_TK : shares_TK.to(logits_TN.scalar_type()), experts_TK};
}

Experts::Experts(const std::string& name, const SparseMoeOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : Host(name), fused_(source.contains(name + ".gate_up_proj")), intermediate_size_(o.intermediate_size), activation_(o.activation) {
  const int64_t num = o.num_experts, inner = o.intermediate_size, dim = o.hidden_size;
  const auto add = [&](const std::string& part, const std::vector<int64_t>& sizes) {
    const io::StoredWeight stored = source.weight(name + "." + part, sizes, io::WeightRole::kLinear);
    if (stored.packed == nullptr) {
      add_weight(part, stored.tensor.to(options), true);
      if (!fused_) {
        packed_.emplace_back();
      }
      return;
    }
    const auto dtype = at::typeMetaToScalarType(options.dtype());
    const std::shared_ptr<const io::PackedMatrix> matrix = stored.packed->to(options.device());
    add_weight(part, std::make_shared<const ops::PackedWeight>(matrix, dtype), /*owned=*/true);
    // A stack has the rows of one expert after those of another, and each expert's gate before up.
    const int64_t rows = sizes.size() == 3 && part != "down_proj" ? inner : sizes[sizes.size() - 2];
    for (int64_t begin = 0; begin < matrix->out_features(); begin += rows) {
      packed_.push_back(std::make_shared<const ops::PackedWeight>(quantization::select_rows(matrix, row_range(begin, rows)), dtype));
    }
  };
  if (fused_) {
    add("gate_up_proj", {num, 2 * inner, dim});
    add("down_proj", {num, dim, inner});
    return;
  }
  for (int64_t expert = 0; expert < num; ++expert) {
    const std::string own = std::to_string(expert) + ".";
    add(own + o.names.gate + ".weight", {inner, dim});
    add(own + o.names.up + ".weight", {inner, dim});
    add(own + o.names.down + ".weight", {dim, inner});
  }
}

Experts::Weights Experts::of_expert(int64_t expert) const {
  const auto dense = [](Tensor tensor) { return std::make_shared<const ops::DenseWeight>(std::move(tensor)); };
  if (!fused_) {  // three of each expert, of which a file may hold some packed and others plain
    const auto at = [&](int64_t index) -> std::shared_ptr<const ops::LinearWeight> {
      const auto& packed = packed_[static_cast<size_t>(index)];
      return packed != nullptr ? packed : dense(weights()[static_cast<size_t>(index)].current());
    };
    return {at(3 * expert), at(3 * expert + 1), at(3 * expert + 2)};
  }
  if (!packed_.empty()) {  // gate and up of each expert, then all down
    const auto at = [this](int64_t index) { return packed_[static_cast<size_t>(index)]; };
    const int64_t num = static_cast<int64_t>(packed_.size()) / 3;
    return {at(2 * expert), at(2 * expert + 1), at(2 * num + expert)};
  }
  const Tensor gate_up = weights()[0].current().select(0, expert);
  return {dense(gate_up.slice(0, 0, intermediate_size_)), dense(gate_up.slice(0, intermediate_size_)),
          dense(weights()[1].current().select(0, expert))};
}

Tensor Experts::forward(const Tensor& x_PD, const std::vector<int64_t>& counts) const {
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (size_t expert = 0; expert < counts.size(); ++expert) {
    if (counts[expert] > 0) {
      const Weights weights = of_expert(static_cast<int64_t>(expert));
      const Tensor own_XD = x_PD.slice(0, begin, begin + counts[expert]);
      const Tensor inner_XF = ops::gated_activation(activation_, ops::linear(own_XD, weights.gate_FD, std::nullopt),
                                                     ops::linear(own_XD, weights.up_FD, std::nullopt));
      outputs.push_back(ops::linear(inner_XF, weights.down_DF, std::nullopt));
      begin += counts[expert];
    }
  }
  return outputs.empty() ? x_PD : at::cat(outputs);
}

SparseMoe::SparseMoe(const std::string& name, const SparseMoeOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : options_(o), router_(name + ".gate", o, source, options), experts_(name + ".experts", o, source, options) {}

Tensor SparseMoe::forward(const Tensor& x_TD, const nn::Pass&) const {
  const auto [shares_TK, experts_TK] = router_.forward(x_TD);
  const Tensor experts_P = experts_TK.flatten();
  const Tensor order_P = at::argsort(experts_P, /*stable=*/true);
  const Tensor counts_N = at::bincount(experts_P, {}, options_.num_experts).cpu();
  const std::vector<int64_t> counts(counts_N.data_ptr<int64_t>(), counts_N.data_ptr<int64_t>() + counts_N.numel());

  const Tensor tokens_P = at::floor_divide(order_P, options_.num_experts_per_token);
  const Tensor y_PD = experts_.forward(x_TD.index_select(0, tokens_P), counts);
  const Tensor shares_P1 = shares_TK.flatten().index_select(0, order_P).unsqueeze(1);
  // A token's experts are summed in the order of their numbers, as in transformers.
  return at::zeros_like(x_TD).index_add(0, tokens_P, (y_PD * shares_P1).to(x_TD.scalar_type()));
}

nn::Kept SparseMoe::kept() const {
  // Gate, up and output of each selected expert, the output for the gradient of the shares, and the router's probabilities. If experts
  // are trained, also the inputs of their projections.
  const int64_t pair = 2 * options_.intermediate_size + options_.hidden_size;
  const int64_t inputs = experts_.is_trained() ? options_.intermediate_size + options_.hidden_size : 0;
  return {options_.num_experts_per_token * (pair + inputs), 2 * options_.num_experts};
}

}  // namespace lora::models
