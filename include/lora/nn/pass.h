#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "lora/nn/batch.h"

namespace lora::ops {
class HostStore;
}

namespace lora::nn {

class KvCache;
class Linear;

/// Observes the input of each Linear: a look at the data before training.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// Projections of one input are reported one after the other, with the same tensor.
  virtual void see(const Linear& host, const Tensor& x_TI) = 0;
};

/// What backward recomputes instead of keeping it.
enum class Recompute {
  kNothing,
  kFeedForward,  ///< the feed-forward blocks, which keep the most per token
  kLayers,       ///< whole layers, of which only the input is kept
  kOffload,      ///< whole layers, whose inputs are offloaded to the host's memory
};

/// One forward pass: the batch and what the modules must know about it. Created once per pass and read by every module. Copies share the
/// batch, so that a pass may outlive the caller's.
class Pass {
 public:
  explicit Pass(Batch batch, Tensor row_keys_T = {})
      : row_keys_T(std::move(row_keys_T)), batch_(std::make_shared<const Batch>(std::move(batch))) {}

  const Batch& batch() const { return *batch_; }
  /// Where the documents lie: all that attention, rope and dropout need to know of the batch.
  const BatchLayout& layout() const { return batch_->layout; }

  /// int64 [T]: the key of each token's random numbers, a function of (seed, step, sample, position). Undefined if nothing is
  /// random (evaluation): dropout is off.
  Tensor row_keys_T;
  /// Keys and values of earlier passes that this one continues; null: every document is whole in the batch.
  KvCache* cache = nullptr;
  InputObserver* observer = nullptr;  ///< null: none
  Recompute recompute = Recompute::kNothing;
  std::shared_ptr<ops::HostStore> host_store = nullptr;  ///< where inputs of layers are offloaded; null unless kOffload
  /// int64 [S], ascending: the only tokens whose output is needed after the current attention; undefined: all. Set in the last layer.
  Tensor needed_S = {};

  bool training() const { return row_keys_T.defined(); }
  /// A pass of modules that treat each row separately, over rows with these keys (undefined: nothing is random): of this pass it has only
  /// the batch.
  Pass of_rows(Tensor row_keys) const;
  /// The same pass with `length` keys of an adapter before each document's own: positions count them.
  Pass after_prefix(int64_t length) const;
  /// The pass over documents with `count` virtual tokens before each (nn::with_virtual_tokens), which have random numbers of their own.
  Pass with_virtual_tokens(int64_t count) const;
  /// The rows of x_TD whose output is needed.
  Tensor needed(const Tensor& x_TD) const;
  /// The pass restricted to the rows whose output is needed, for modules that treat each token separately.
  Pass of_needed() const;

 private:
  std::shared_ptr<const Batch> batch_;
};

/// A pass without dropout.
Pass evaluation_pass(Batch batch);

/// A pass whose dropout depends on (seed, step, sample, position) only: no split into micro-batches changes it.
Pass training_pass(Batch batch, uint64_t seed, int64_t step, Recompute recompute = Recompute::kNothing);

/// f(x, pass), recomputed in backward if the pass's `recompute` is `part`. The pass is copied for that, and f gets one that
/// recomputes nothing.
Tensor recomputed(const Tensor& x, const Pass& pass, Recompute part, const std::function<Tensor(const Tensor&, const Pass&)>& f);

/// The same for a function of several tensors, which must not use others that have a graph.
Tensor recomputed(const std::vector<Tensor>& inputs, const Pass& pass, Recompute part,
                  const std::function<Tensor(const std::vector<Tensor>&, const Pass&)>& f);

/// A pass without dropout over the tokens that follow the cached ones of each document: sample_ids are the documents' numbers in
/// the cache, ascending. Afterwards the cache holds the batch's tokens too.
Pass cached_pass(Batch batch, KvCache& cache);

}  // namespace lora::nn
