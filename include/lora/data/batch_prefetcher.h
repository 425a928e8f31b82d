#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <deque>
#include <future>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/token_batch.h"

namespace lora::data {

/// Gives batches on the model's device, and builds the next one in a thread while the last is computed: on CUDA in pinned
/// memory, so that the copy waits for nothing. Which batches come is only a hint: any may be asked for at any time.
class BatchPrefetcher {
 public:
  /// `ahead`: whether there is a thread at all. It pays on CUDA alone, where computing leaves the CPU idle.
  /// The dataset must outlive this.
  BatchPrefetcher(const Dataset& dataset, c10::Device device, bool ahead);
  ~BatchPrefetcher();

  /// The batches that will be taken next, in this order, each by its indices.
  void expect(const std::vector<std::vector<int64_t>>& upcoming);
  /// The documents of `indices` as make_batch gives them. Throws what building it threw, in whichever thread.
  nn::TokenBatch take(const std::vector<int64_t>& indices);

 private:
  void begin_next();

  const Dataset& dataset_;
  c10::Device device_;
  bool ahead_;
  std::deque<std::vector<int64_t>> expected_;
  std::vector<int64_t> begun_;          ///< what the thread builds
  std::future<nn::TokenBatch> result_;  ///< invalid: nothing is begun. Its end waits for the thread
};

}  // namespace lora::data
