#include <ATen/ATen.h>
#include <ATen/Parallel.h>  // get_num_threads

#include <algorithm>
#include <atomic>
#include <numeric>

#include "lora/ops/parallel.h"
#include "ops/block_product.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/launch.h"

namespace lora::ops::cpu {

namespace {

using at::Tensor;

constexpr int64_t kSquare = kTile * kTile;

/// c [M, N] = a [M, K] b [K, N], or added to c.
template <typename S>
void multiply(int64_t M, int64_t N, int64_t K, const S* a, const S* b, float* c, bool add) {
  block_product(M, N, K, a, K, b, c, add);
}

/// The heads of a contiguous [T, heads, E] tensor.
template <typename S>
struct Heads {
  explicit Heads(const Tensor& x_THE) : data(pointer<S>(x_THE)), heads(x_THE.size(1)), dim(x_THE.size(2)) {}

  int64_t stride() const { return heads * dim; }
  S* at(int64_t token, int64_t head) const { return data + (token * heads + head) * dim; }
  HeadRows<S> rows(int64_t token, int64_t count, int64_t head) const { return {at(token, head), stride(), count, dim}; }

  S* data;
  int64_t heads, dim;
};

struct AttentionSpan {
  int64_t begin = 0, length = 0;

  int64_t tiles() const { return (length + kTile - 1) / kTile; }
  int64_t token(int64_t tile) const { return begin + tile * kTile; }
  int64_t rows(int64_t tile) const { return std::min(kTile, length - tile * kTile); }
};

/// The queries and keys of one document.
struct AttentionDocument {
  AttentionSpan queries, keys;
  bool causal;

  /// The number of tiles of keys that some query of a tile sees, and how many keys of the last one (softmax_tiles).
  int64_t seen(int64_t tile) const { return causal ? tile + 1 : keys.tiles(); }
  int64_t visible() const { return causal ? kOnDiagonal : keys.rows(keys.tiles() - 1); }
  /// The first tile of queries that sees this tile of keys.
  int64_t first_seer(int64_t tile) const { return causal ? tile : 0; }
};

/// The documents, longest first, so that no thread starts a long one at the end.
std::vector<AttentionDocument> documents_of(const AttentionPlaces& places) {
  std::vector<AttentionDocument> documents;
  for (size_t d = 0; d + 1 < places.queries.size(); ++d) {
    const auto span = [d](const std::vector<int64_t>& offsets) { return AttentionSpan{offsets[d], offsets[d + 1] - offsets[d]}; };
    documents.push_back({span(places.queries), span(places.keys), places.causal});
  }
  std::stable_sort(documents.begin(), documents.end(),
                   [](const AttentionDocument& a, const AttentionDocument& b) { return a.queries.length > b.queries.length; });
  return documents;
}

/// A thread's memory, handed out in pieces that begin at a cache line.
class Pieces {
 public:
  explicit Pieces(std::byte* begin) : next_(begin) {}
  template <typename Item>
  Item* take(int64_t count) {
    auto* piece = reinterpret_cast<Item*>(next_);
    next_ += bytes<Item>(count);
    return piece;
  }
  template <typename Item>
  static int64_t bytes(int64_t count) {
    return (count * static_cast<int64_t>(sizeof(Item)) + 63) / 64 * 64;
  }

 private:
  std::byte* next_;
};

/// Calls run(document, head, memory) for every pair, each on one thread; memory belongs to the thread and has bytes_of(tiles) bytes for
/// the most tiles of keys.
template <typename BytesOf, typename Run>
void for_each_head(const AttentionPlaces& places, int64_t heads, const BytesOf& bytes_of, const Run& run) {
  const std::vector<AttentionDocument> documents = documents_of(places);
  if (documents.empty() || heads == 0) {
    return;
  }
  int64_t tiles = 0;
  for (const AttentionDocument& document : documents) {
    tiles = std::max(tiles, document.keys.tiles());
  }
  const int64_t tasks = static_cast<int64_t>(documents.size()) * heads;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), tasks), bytes = bytes_of(tiles);
  const Tensor memory = at::empty({threads * bytes + 64}, at::kByte);
  const auto begin = (reinterpret_cast<uintptr_t>(memory.mutable_data_ptr()) + 63) / 64 * 64;
  std::atomic<int64_t> next{0};
  parallel_for(0, threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t thread = first; thread < last; ++thread) {
      for (int64_t task = next++; task < tasks; task = next++) {
        run(documents[static_cast<size_t>(task / heads)], task % heads, reinterpret_cast<std::byte*>(begin) + thread * bytes);
      }
    }
    end_block_products();
  });
}

/// The buffers of attention_forward for one head: n tiles of keys and values, and the scores of one tile of queries.
template <typename S>
struct ForwardMemory {
  ForwardMemory(std::byte* memory, int64_t n, int64_t dim, int64_t value_dim) {
    Pieces pieces(memory);
    keys_turned = pieces.take<S>(n * dim * kTile);
    values = pieces.take<S>(n * kTile * value_dim);
    queries = pieces.take<S>(kTile * dim);
    scores = pieces.take<float>(n * kSquare);
    weights = std::is_same_v<S, float> ? reinterpret_cast<S*>(scores) : pieces.take<S>(n * kSquare);
    out = pieces.take<float>(kTile * value_dim);
  }
  static int64_t bytes(int64_t n, int64_t dim, int64_t value_dim) {
    return Pieces::bytes<S>(n * dim * kTile) + Pieces::bytes<S>(n * kTile * value_dim) + Pieces::bytes<S>(kTile * dim) +
           Pieces::bytes<float>(n * kSquare) + Pieces::bytes<S>(n * kSquare) + Pieces::bytes<float>(kTile * value_dim);
  }

  S *keys_turned, *values, *queries, *weights;
  float *scores, *out;
};

SoftmaxRow* kept_rows(const AttentionResult& result) {
  return reinterpret_cast<SoftmaxRow*>(result.softmax_TH2.data_ptr<float>());
}

template <typename S>
void attention_forward(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const AttentionResult& result,
                       const AttentionPlaces& places, double scale) {
  const Heads<S> q(q_THE), k(k_SKE), v(v_SKE), out(result.out_THE);
  SoftmaxRow* kept_TH = kept_rows(result);
  const int64_t group = q.heads / k.heads, dim = q.dim, value_dim = v.dim;
  const auto bytes = [&](int64_t n) { return ForwardMemory<S>::bytes(n, dim, value_dim); };
  for_each_head(places, q.heads, bytes, [&](const AttentionDocument& document, int64_t head, std::byte* memory) {
    const AttentionSpan &queries = document.queries, &keys = document.keys;
    const int64_t key_head = head / group;
    const ForwardMemory<S> m(memory, keys.tiles(), dim, value_dim);
    int64_t taken = 0;  // tiles of keys
    for (int64_t i = 0; i < queries.tiles(); ++i) {
      const int64_t token = queries.token(i), rows = queries.rows(i), seen = document.seen(i);
      for (; taken < seen; ++taken) {
        right_transposed_tile(k.rows(keys.token(taken), keys.rows(taken), key_head), m.keys_turned + taken * dim * kTile);
        right_tile(v.rows(keys.token(taken), keys.rows(taken), key_head), m.values + taken * kTile * value_dim);
      }
      left_tile(q.rows(token, rows, head), m.queries);
      for (int64_t j = 0; j < seen; ++j) {
        multiply(kTile, kTile, dim, m.queries, m.keys_turned + j * dim * kTile, m.scores + j * kSquare, false);
      }
      SoftmaxRow* kept = kept_TH + token * q.heads + head;
      softmax_tiles(m.scores, m.weights, kept, q.heads, seen, rows, document.visible(), static_cast<float>(scale));
      for (int64_t j = 0; j < seen; ++j) {
        multiply(kTile, value_dim, kTile, m.weights + j * kSquare, m.values + j * kTile * value_dim, m.out, j > 0);
      }
      store_shares(m.out, kept, q.heads, out.at(token, head), out.stride(), rows, value_dim);
    }
  });
}

/// The buffers of attention_backward for one head.
template <typename S>
struct BackwardMemory {
  BackwardMemory(std::byte* memory, int64_t n, int64_t dim, int64_t value_dim) {
    Pieces pieces(memory);
    keys = pieces.take<S>(n * kTile * dim);
    keys_turned = pieces.take<S>(n * kTile * dim);
    values = pieces.take<S>(n * kTile * value_dim);
    dkeys = pieces.take<float>(n * kTile * dim);
    dvalues = pieces.take<float>(n * kTile * value_dim);
    queries = pieces.take<S>(kTile * dim);
    queries_turned = pieces.take<S>(kTile * dim);
    dout = pieces.take<S>(kTile * value_dim);
    dout_turned = pieces.take<S>(kTile * value_dim);
    scores = pieces.take<float>(n * kSquare);
    dweights = pieces.take<float>(n * kSquare);
    dqueries_turned = pieces.take<float>(kTile * dim);
    largest = pieces.take<float>(kTile);
    share = pieces.take<float>(kTile);
    delta = pieces.take<float>(kTile);
    delta_sum = pieces.take<double>(kTile);
    square.weights = pieces.take<S>(kSquare);
    square.dscores = pieces.take<S>(kSquare);
    square.dscores_right = std::is_same_v<S, float> ? square.dscores : pieces.take<S>(kSquare);
  }
  static int64_t bytes(int64_t n, int64_t dim, int64_t value_dim) {
    return 2 * Pieces::bytes<S>(n * kTile * dim) + Pieces::bytes<S>(n * kTile * value_dim) + Pieces::bytes<float>(n * kTile * dim) +
           Pieces::bytes<float>(n * kTile * value_dim) + 2 * Pieces::bytes<S>(kTile * dim) + 2 * Pieces::bytes<S>(kTile * value_dim) +
           2 * Pieces::bytes<float>(n * kSquare) + Pieces::bytes<float>(kTile * dim) + 3 * Pieces::bytes<float>(kTile) +
           Pieces::bytes<double>(kTile) + 3 * Pieces::bytes<S>(kSquare);
  }

  S *keys, *keys_turned, *values, *queries, *queries_turned, *dout, *dout_turned;
  float *dkeys, *dvalues, *scores, *dweights, *dqueries_turned, *largest, *share, *delta;
  double* delta_sum;
  SquareGradients<S> square{};
};

/// One head of one document: squares of keys by queries, so that none has to be transposed (Dao 2023, section 3.1, with its loops
/// exchanged). dk and dv are separate for each query head.
template <typename S>
class HeadBackward {
 public:
  HeadBackward(const Tensor& dout_THE, const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const AttentionResult& result,
               const AttentionGradients& gradients, double scale)
      : q_(q_THE),
        k_(k_SKE),
        v_(v_SKE),
        dout_(dout_THE),
        dq_(gradients.dq_THE),
        dk_(gradients.dk_SKE),
        dv_(gradients.dv_SKE),
        kept_TH_(kept_rows(result)),
        scale_(static_cast<float>(scale)) {}

  int64_t bytes(int64_t n) const { return BackwardMemory<S>::bytes(n, q_.dim, v_.dim); }

  void run(const AttentionDocument& document, int64_t head, std::byte* memory) const {
    const AttentionSpan &queries = document.queries, &keys = document.keys;
    const BackwardMemory<S> m(memory, keys.tiles(), q_.dim, v_.dim);
    int64_t taken = 0;  // tiles of keys
    for (int64_t i = 0; i < queries.tiles(); ++i) {
      const int64_t token = queries.token(i), rows = queries.rows(i), seen = document.seen(i);
      for (; taken < seen; ++taken) {
        take_keys(keys, taken, head, m);
      }
      take_queries(token, rows, head, m);
      for (int64_t j = 0; j < seen; ++j) {
        take_probabilities(j, j + 1 == seen ? document.visible() : kTile, m);
      }
      std::copy(m.delta_sum, m.delta_sum + kTile, m.delta);
      for (int64_t j = 0; j < seen; ++j) {
        add_gradients(j, i > document.first_seer(j), m);
      }
      store_transposed(m.dqueries_turned, scale_, dq_.at(token, head), dq_.stride(), rows, q_.dim);
    }
    for (int64_t j = 0; j < keys.tiles(); ++j) {
      const int64_t token = keys.token(j), rows = keys.rows(j);
      store_rows(m.dkeys + j * kTile * q_.dim, scale_, dk_.at(token, head), dk_.stride(), rows, q_.dim);
      store_rows(m.dvalues + j * kTile * v_.dim, 1.0F, dv_.at(token, head), dv_.stride(), rows, v_.dim);
    }
  }

 private:
  void take_keys(const AttentionSpan& keys, int64_t tile, int64_t head, const BackwardMemory<S>& m) const {
    const int64_t token = keys.token(tile), rows = keys.rows(tile), key_head = head / (q_.heads / k_.heads);
    left_tile(k_.rows(token, rows, key_head), m.keys + tile * kTile * q_.dim);
    left_transposed_tile(k_.rows(token, rows, key_head), m.keys_turned + tile * kTile * q_.dim);
    left_tile(v_.rows(token, rows, key_head), m.values + tile * kTile * v_.dim);
  }

  void take_queries(int64_t token, int64_t rows, int64_t head, const BackwardMemory<S>& m) const {
    right_tile(q_.rows(token, rows, head), m.queries);
    right_transposed_tile(q_.rows(token, rows, head), m.queries_turned);
    right_tile(dout_.rows(token, rows, head), m.dout);
    right_transposed_tile(dout_.rows(token, rows, head), m.dout_turned);
    for (int64_t r = 0; r < kTile; ++r) {
      // Rows after the last query have no weight.
      const SoftmaxRow kept = r < rows ? kept_TH_[(token + r) * q_.heads + head] : SoftmaxRow{0.0F, 0.0F};
      m.largest[r] = kept.largest;
      m.share[r] = kept.share;
      m.delta_sum[r] = 0;
    }
  }

  void take_probabilities(int64_t j, int64_t visible, const BackwardMemory<S>& m) const {
    float *scores = m.scores + j * kSquare, *dweights = m.dweights + j * kSquare;
    multiply(kTile, kTile, q_.dim, m.keys + j * kTile * q_.dim, m.queries_turned, scores, false);
    multiply(kTile, kTile, v_.dim, m.values + j * kTile * v_.dim, m.dout_turned, dweights, false);
    probabilities_of_square(scores, dweights, m.largest, m.share, scale_, visible, m.delta_sum);
  }

  /// @param later whether an earlier tile of queries has added to this tile of keys.
  void add_gradients(int64_t j, bool later, const BackwardMemory<S>& m) const {
    const int64_t dim = q_.dim, value_dim = v_.dim;
    gradients_of_square(m.scores + j * kSquare, m.dweights + j * kSquare, m.delta, m.square);
    multiply(kTile, value_dim, kTile, m.square.weights, m.dout, m.dvalues + j * kTile * value_dim, later);
    multiply(kTile, dim, kTile, m.square.dscores, m.queries, m.dkeys + j * kTile * dim, later);
    multiply(dim, kTile, kTile, m.keys_turned + j * kTile * dim, m.square.dscores_right, m.dqueries_turned, j > 0);
  }

  Heads<S> q_, k_, v_, dout_, dq_;
  Heads<float> dk_, dv_;
  const SoftmaxRow* kept_TH_;
  float scale_;
};

/// The sum over the query heads that share a key head.
Tensor by_key_head(const Tensor& x_SHE, const Tensor& like_SKE) {
  if (x_SHE.sizes() == like_SKE.sizes()) {
    return x_SHE.to(like_SKE.scalar_type());
  }
  const int64_t group = x_SHE.size(1) / like_SKE.size(1);
  return x_SHE.unflatten(1, {like_SKE.size(1), group}).sum(2).to(like_SKE.scalar_type());
}

}  // namespace

bool attention_applies(const Tensor& q_THE) {
  return q_THE.is_cpu() &&
         (q_THE.scalar_type() == at::kFloat || (q_THE.scalar_type() == at::kBFloat16 && q_THE.size(2) % 2 == 0 && multiplies_bfloat16()));
}

AttentionResult attention(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const AttentionPlaces& places, double scale) {
  const auto floats = q_THE.options().dtype(at::kFloat);
  const AttentionResult result{at::empty({q_THE.size(0), q_THE.size(1), v_SKE.size(2)}, q_THE.options()),
                               at::empty({q_THE.size(0), q_THE.size(1), 2}, floats)};
  if (q_THE.scalar_type() == at::kFloat) {
    attention_forward<float>(q_THE, k_SKE, v_SKE, result, places, scale);
  } else {
    attention_forward<BFloat16>(q_THE, k_SKE, v_SKE, result, places, scale);
  }
  return result;
}

AttentionGradients attention_backward(const Tensor& dout_THE, const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE,
                                      const AttentionResult& result, const AttentionPlaces& places, double scale) {
  const auto floats = q_THE.options().dtype(at::kFloat);
  const auto of_heads = [&](const Tensor& x_SKE) { return at::empty({x_SKE.size(0), q_THE.size(1), x_SKE.size(2)}, floats); };
  const AttentionGradients gradients{at::empty_like(q_THE), of_heads(k_SKE), of_heads(v_SKE)};
  const auto run = [&]<typename S>(S) {
    const HeadBackward<S> backward(dout_THE, q_THE, k_SKE, v_SKE, result, gradients, scale);
    for_each_head(
        places, q_THE.size(1), [&](int64_t n) { return backward.bytes(n); },
        [&](const AttentionDocument& document, int64_t head, std::byte* memory) { backward.run(document, head, memory); });
  };
  if (q_THE.scalar_type() == at::kFloat) {
    run(float{});
  } else {
    run(BFloat16{});
  }
  return {gradients.dq_THE, by_key_head(gradients.dk_SKE, k_SKE), by_key_head(gradients.dv_SKE, v_SKE)};
}

}  // namespace lora::ops::cpu
