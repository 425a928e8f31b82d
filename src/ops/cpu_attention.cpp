#include <ATen/ATen.h>
#include <ATen/Parallel.h>  // get_num_threads

#include <algorithm>
#include <atomic>
#include <numeric>

#include "cpu/attention.h"
#include "cpu/kernels.h"
#include "lora/ops/parallel.h"

#ifdef LORA_LIBTORCH_BLAS
extern "C" void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
                       const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc);
#endif

namespace lora::ops::cpu {

#ifdef LORA_LIBTORCH_BLAS

namespace {

using at::Tensor;

constexpr int64_t kBlock = 64;  ///< queries at a time: half a block of scores is computed in vain at the diagonal

/// A matrix within a larger one, row by row.
struct Matrix {
  float* data;
  int64_t stride;
};

/// c [m, n] = alpha · op(a) op(b) + beta · c, row-major: the transposes of BLAS's column-major matrices.
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, Matrix a, Matrix b, float beta, Matrix c) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), depth = static_cast<int>(k);
  const int a_stride = static_cast<int>(a.stride), b_stride = static_cast<int>(b.stride), c_stride = static_cast<int>(c.stride);
  sgemm_(trans_b ? "T" : "N", trans_a ? "T" : "N", &columns, &rows, &depth, &alpha, b.data, &b_stride, a.data, &a_stride, &beta, c.data,
         &c_stride);
}

/// The heads of a [T, heads, E] tensor.
struct Heads {
  explicit Heads(const Tensor& x_THE) : data(static_cast<float*>(x_THE.mutable_data_ptr())), heads(x_THE.size(1)), dim(x_THE.size(2)) {}

  /// One head from a token on.
  Matrix at(int64_t token, int64_t head) const { return {data + (token * heads + head) * dim, heads * dim}; }

  float* data;
  int64_t heads, dim;
};

struct Document {
  int64_t begin, length;
};

/// The documents, long ones first, so that no thread is left with one at the end.
std::vector<Document> documents_of(const std::vector<int64_t>& offsets) {
  std::vector<Document> documents;
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    documents.push_back({offsets[d], offsets[d + 1] - offsets[d]});
  }
  std::stable_sort(documents.begin(), documents.end(), [](const Document& a, const Document& b) { return a.length > b.length; });
  return documents;
}

/// run(document, head, buffer) for every pair, each on one thread; buffer: a thread's own, of `rows` x the longest document.
template <typename Run>
void for_each_head(const std::vector<int64_t>& offsets, int64_t heads, int64_t rows, const Run& run) {
  const std::vector<Document> documents = documents_of(offsets);
  if (documents.empty()) {
    return;
  }
  const int64_t tasks = static_cast<int64_t>(documents.size()) * heads;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), tasks);
  const Tensor buffers = at::empty({threads, rows * documents.front().length}, at::kFloat);
  std::atomic<int64_t> next{0};
  parallel_for(0, threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t thread = first; thread < last; ++thread) {
      float* buffer = buffers.data_ptr<float>() + thread * buffers.size(1);
      for (int64_t task = next++; task < tasks; task = next++) {
        run(documents[static_cast<size_t>(task / heads)], task % heads, buffer);
      }
    }
  });
}

/// run(first, rows) for each block of a document's queries.
template <typename Run>
void for_each_block(const Document& document, const Run& run) {
  for (int64_t first = 0; first < document.length; first += kBlock) {
    run(first, std::min(kBlock, document.length - first));
  }
}

}  // namespace

bool attention_applies(const Tensor& q_THE) {
  return q_THE.is_cpu() && q_THE.scalar_type() == at::kFloat;
}

AttentionResult causal_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                                 double scale) {
  const AttentionResult result{at::empty_like(q_THE), at::empty({q_THE.size(0), q_THE.size(1)}, q_THE.options())};
  const Heads q(q_THE), k(k_TKE), v(v_TKE), out(result.out_THE);
  float* lse = result.lse_TH.data_ptr<float>();
  const int64_t group = q.heads / k.heads, dim = q.dim;
  for_each_head(offsets, q.heads, kBlock, [&](const Document& document, int64_t head, float* buffer) {
    const Matrix keys = k.at(document.begin, head / group), values = v.at(document.begin, head / group);
    for_each_block(document, [&](int64_t first, int64_t rows) {
      const int64_t token = document.begin + first, width = first + rows;
      const Matrix scores{buffer, width};
      gemm(false, true, rows, width, dim, static_cast<float>(scale), q.at(token, head), keys, 0, scores);
      causal_softmax(scores.data, lse + token * q.heads + head, q.heads, rows, width, first);
      gemm(false, false, rows, v.dim, width, 1, scores, values, 0, out.at(token, head));
    });
  });
  return result;
}

AttentionGradients causal_attention_backward(const Tensor& dout_THE, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE,
                                             const AttentionResult& result, const std::vector<int64_t>& offsets, double scale) {
  const AttentionGradients gradients{at::empty_like(q_THE), at::empty_like(k_TKE), at::empty_like(v_TKE)};
  const Tensor delta_HT = (dout_THE * result.out_THE).sum(2).t().contiguous();
  const Heads q(q_THE), k(k_TKE), v(v_TKE), dout(dout_THE), dq(gradients.dq_THE), dk(gradients.dk_TKE), dv(gradients.dv_TKE);
  const float *lse = result.lse_TH.data_ptr<float>(), *delta = delta_HT.data_ptr<float>();
  const int64_t group = q.heads / k.heads, dim = q.dim, tokens = q_THE.size(0);
  // A key head's gradients are sums over its group of query heads, so one thread takes them all.
  for_each_head(offsets, k.heads, 2 * kBlock, [&](const Document& document, int64_t key_head, float* buffer) {
    const Matrix keys = k.at(document.begin, key_head), values = v.at(document.begin, key_head);
    const Matrix dkeys = dk.at(document.begin, key_head), dvalues = dv.at(document.begin, key_head);
    for (int64_t t = 0; t < document.length; ++t) {
      std::fill_n(dkeys.data + t * dkeys.stride, dim, 0.0F);
      std::fill_n(dvalues.data + t * dvalues.stride, v.dim, 0.0F);
    }
    for (int64_t head = key_head * group; head < (key_head + 1) * group; ++head) {
      for_each_block(document, [&](int64_t first, int64_t rows) {
        const int64_t token = document.begin + first, width = first + rows;
        const Matrix scores{buffer, width}, dscores{buffer + rows * width, width};
        gemm(false, true, rows, width, dim, static_cast<float>(scale), q.at(token, head), keys, 0, scores);
        gemm(false, true, rows, width, v.dim, 1, dout.at(token, head), values, 0, dscores);
        causal_softmax_backward(scores.data, dscores.data, lse + token * q.heads + head, q.heads, delta + head * tokens + token, rows,
                                width, first, static_cast<float>(scale));
        gemm(true, false, width, v.dim, rows, 1, scores, dout.at(token, head), 1, dvalues);
        gemm(true, false, width, dim, rows, 1, dscores, q.at(token, head), 1, dkeys);
        gemm(false, false, rows, dim, width, 1, dscores, keys, 0, dq.at(token, head));
      });
    }
  });
  return gradients;
}

#else

bool attention_applies(const at::Tensor&) {
  return false;
}

AttentionResult causal_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::vector<int64_t>&, double) {
  TORCH_CHECK(false, "built without LibTorch's BLAS");
}

AttentionGradients causal_attention_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                             const AttentionResult&, const std::vector<int64_t>&, double) {
  TORCH_CHECK(false, "built without LibTorch's BLAS");
}

#endif

}  // namespace lora::ops::cpu
