// T tokens, H query heads in K groups of G, E head size; a block has n queries (N = G · n rows per key head) and m keys.
#include "ops/block_attention.h"

#include <torch/csrc/autograd/custom_function.h>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBlock = 128;  ///< queries per block

at::ScalarType wide_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Queries [first, end) and keys [key, key_end) of the packed tokens.
struct Block {
  int64_t first, end, key, key_end;
  int64_t queries() const { return end - first; }
  int64_t keys() const { return key_end - key; }
};

/// The blocks of every document, each with the keys from the first to the last that one of its queries sees.
std::vector<Block> blocks_of(const std::vector<int64_t>& offsets, const AttentionOptions& options) {
  std::vector<Block> blocks;
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    for (int64_t first = offsets[d]; first < offsets[d + 1]; first += kBlock) {
      const int64_t end = std::min(first + kBlock, offsets[d + 1]);
      const int64_t key = options.window ? std::max(offsets[d], first - *options.window + 1) : offsets[d];
      const int64_t ahead = options.window ? std::min(end + *options.window - 1, offsets[d + 1]) : offsets[d + 1];
      blocks.push_back({first, end, key, options.causal ? end : ahead});
    }
  }
  return blocks;
}

/// A block's queries (or anything of their shape) by key head: [K, N, E].
Tensor query_rows(const Tensor& x_THE, const Block& block, int64_t key_heads) {
  const Tensor x_nKGE = x_THE.slice(0, block.first, block.end).unflatten(1, {key_heads, -1});
  return x_nKGE.permute({1, 2, 0, 3}).flatten(1, 2);
}

/// Copies rows by key head back to the positions of the block's queries in x_THE.
void put_query_rows(const Tensor& rows_KNE, const Block& block, const Tensor& x_THE) {
  const int64_t key_heads = rows_KNE.size(0);
  x_THE.slice(0, block.first, block.end)
      .unflatten(1, {key_heads, -1})
      .copy_(rows_KNE.unflatten(1, {-1, block.queries()}).permute({2, 0, 1, 3}));
}

/// A block's keys or values by head: [K, m, E].
Tensor key_rows(const Tensor& x_TKE, const Block& block) {
  return x_TKE.slice(0, block.key, block.key_end).transpose(0, 1);
}

/// The scores [K, N, m] in float32 or wider, -inf for hidden keys.
Tensor masked_scores(const Tensor& capped_KNm, const Block& block, const AttentionOptions& options) {
  const Tensor hidden_nm = hidden_keys(block.first - block.key, block.queries(), block.keys(), options, capped_KNm.device());
  return capped_KNm.unflatten(1, {-1, block.queries()}).masked_fill(hidden_nm, -std::numeric_limits<double>::infinity()).flatten(1, 2);
}

struct BlockAttention : torch::autograd::Function<BlockAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE,
                        const std::vector<int64_t>& offsets, const AttentionOptions& options) {
    const int64_t key_heads = k_TKE.size(1);
    const Tensor out_THE = at::empty(q_THE.sizes(), q_THE.options());
    const Tensor lse_TH1 = at::empty({q_THE.size(0), q_THE.size(1), 1}, q_THE.options().dtype(wide_type(q_THE)));
    for (const Block& block : blocks_of(offsets, options)) {
      const Tensor products_KNm = at::bmm(query_rows(q_THE, block, key_heads), key_rows(k_TKE, block).transpose(1, 2));
      const Tensor scores_KNm = masked_scores(capped_scores(products_KNm, options), block, options);
      const Tensor lse_KN1 = at::logsumexp(scores_KNm, -1, /*keepdim=*/true);
      const Tensor weights_KNm = (scores_KNm - lse_KN1).exp_().to(q_THE.scalar_type());
      put_query_rows(at::bmm(weights_KNm, key_rows(v_TKE, block)), block, out_THE);
      put_query_rows(lse_KN1, block, lse_TH1);
    }
    ctx->save_for_backward({q_THE, k_TKE, v_TKE, out_THE, lse_TH1});
    ctx->saved_data["offsets"] = offsets;
    ctx->saved_data["scale"] = options.scale;
    ctx->saved_data["window"] = options.window;
    ctx->saved_data["soft_cap"] = options.soft_cap;
    ctx->saved_data["causal"] = options.causal;
    return out_THE;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &q_THE = saved[0], &k_TKE = saved[1], &v_TKE = saved[2], &lse_TH1 = saved[4];
    const AttentionOptions options{ctx->saved_data["scale"].toDouble(), ctx->saved_data["window"].toOptional<int64_t>(),
                                   ctx->saved_data["soft_cap"].toOptional<double>(), ctx->saved_data["causal"].toBool()};
    const int64_t key_heads = k_TKE.size(1);
    const at::ScalarType dtype = q_THE.scalar_type(), wide = wide_type(q_THE);
    const Tensor delta_TH1 = (grads[0].to(wide) * saved[3].to(wide)).sum(2, /*keepdim=*/true);
    const Tensor dq_THE = at::empty(q_THE.sizes(), q_THE.options());
    const Tensor dk_TKE = at::zeros(k_TKE.sizes(), k_TKE.options().dtype(wide)), dv_TKE = at::zeros_like(dk_TKE);
    for (const Block& block : blocks_of(ctx->saved_data["offsets"].toIntVector(), options)) {
      const Tensor q_KNE = query_rows(q_THE, block, key_heads), dout_KNE = query_rows(grads[0], block, key_heads);
      const Tensor k_KmE = key_rows(k_TKE, block), v_KmE = key_rows(v_TKE, block);
      const Tensor capped_KNm = capped_scores(at::bmm(q_KNE, k_KmE.transpose(1, 2)), options);
      const Tensor weights_KNm = (masked_scores(capped_KNm, block, options) - query_rows(lse_TH1, block, key_heads)).exp_();
      const Tensor dweights_KNm = at::bmm(dout_KNE, v_KmE.transpose(1, 2)).to(wide);
      Tensor dscores_KNm = weights_KNm * (dweights_KNm - query_rows(delta_TH1, block, key_heads)) * options.scale;
      if (options.soft_cap) {
        dscores_KNm.mul_(1 - (capped_KNm / *options.soft_cap).square_());  // of tanh
      }
      dscores_KNm = dscores_KNm.to(dtype);
      key_rows(dv_TKE, block).add_(at::bmm(weights_KNm.to(dtype).transpose(1, 2), dout_KNE));
      key_rows(dk_TKE, block).add_(at::bmm(dscores_KNm.transpose(1, 2), q_KNE));
      put_query_rows(at::bmm(dscores_KNm, k_KmE), block, dq_THE);
    }
    return {dq_THE, dk_TKE.to(dtype), dv_TKE.to(dtype), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor block_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                       const AttentionOptions& options) {
  return BlockAttention::apply(q_THE, k_TKE, v_TKE, offsets, options);
}

Tensor capped_scores(const Tensor& products, const AttentionOptions& options) {
  const Tensor scores = products.to(wide_type(products)) * options.scale;
  return options.soft_cap ? (scores / *options.soft_cap).tanh_() * *options.soft_cap : scores;
}

Tensor hidden_keys(int64_t first, int64_t tokens, int64_t length, const AttentionOptions& options, at::Device device) {
  const Tensor query_n1 = at::arange(first, first + tokens, at::TensorOptions(at::kLong).device(device)).unsqueeze(1);
  const Tensor distance_nm = query_n1 - at::arange(length, query_n1.options());
  if (!options.causal) {
    return distance_nm.abs() >= options.window.value_or(std::numeric_limits<int64_t>::max());
  }
  const Tensor later_nm = distance_nm < 0;
  return options.window ? later_nm.logical_or(distance_nm >= *options.window) : later_nm;
}

}  // namespace lora::ops
