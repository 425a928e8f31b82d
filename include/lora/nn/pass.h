#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "lora/nn/token_batch.h"

namespace lora::ops {
class HostStore;
}

namespace lora::nn {

class KvCache;
class Linear;

/// Is shown what each Linear is given: a look at the data before training.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// Projections of one input are shown it one after the other, as the same tensor.
  virtual void see(const Linear& host, const Tensor& x_TI) = 0;
};

/// What backward computes again instead of keeping it.
enum class Recompute {
  kNothing,
  kFeedForward,  ///< the feed-forward blocks, which keep the most a token
  kLayers,       ///< whole layers: of each only its input is kept
  kOffload,      ///< whole layers, whose inputs wait in the host's memory meanwhile
};

/// One forward pass: the batch and what the modules must know of it. Made once a pass, read by every module.
struct Pass {
  const TokenBatch& batch;
  /// int64 [T]: the key of each token's random numbers, a function of (seed, step, sample, position). Undefined when
  /// nothing is random (evaluation): dropout is off.
  Tensor row_keys_T;
  /// Keys and values of earlier passes, where this one goes on behind them; null: every document is whole in the batch.
  KvCache* cache = nullptr;
  InputObserver* observer = nullptr;  ///< null: nobody looks
  Recompute recompute = Recompute::kNothing;
  std::shared_ptr<ops::HostStore> host_store = nullptr;  ///< where inputs of layers wait; null but with kOffload
  /// int64 [S], rising: the tokens that are wanted behind the attention at hand; undefined: all. The last layer's is told.
  Tensor wanted_S = {};

  bool training() const { return row_keys_T.defined(); }
  /// The rows of x_TD that are wanted.
  Tensor wanted(const Tensor& x_TD) const;
  /// The pass as the wanted tokens go on in it, through what takes each by itself.
  Pass of_wanted() const;
};

/// A pass without dropout.
Pass evaluation_pass(const TokenBatch& batch);

/// A pass whose dropout is drawn by (seed, step, sample, position): no split into micro-batches changes it.
Pass training_pass(const TokenBatch& batch, uint64_t seed, int64_t step, Recompute recompute = Recompute::kNothing);

/// f(x, pass) with what is kept of it as the pass says: computed again in backward if its `recompute` is `part`, for which
/// the pass is copied; f then gets one that recomputes nothing.
Tensor recomputed(const Tensor& x, const Pass& pass, Recompute part, const std::function<Tensor(const Tensor&, const Pass&)>& f);

/// A pass without dropout over what follows the cached tokens of each document: sample_ids are the documents' numbers in
/// the cache, rising. The batch's tokens are in the cache afterwards.
Pass cached_pass(const TokenBatch& batch, KvCache& cache);

}  // namespace lora::nn
