#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <deque>
#include <future>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/batch.h"

namespace lora::data {

/// Provides batches on the model's device, and builds the next one in a thread while the model computes with the last: on CUDA in
/// pinned memory, so that the copy is asynchronous. The expected batches are only a hint: any batch may be requested at any time.
class BatchPrefetcher {
 public:
  /// `ahead`: whether there is a thread at all. It pays only on CUDA, where the CPU is idle during computation.
  /// The dataset must outlive this.
  BatchPrefetcher(const Dataset& dataset, c10::Device device, bool ahead);
  ~BatchPrefetcher();

  /// The batches that will be taken next, in this order, each given by its indices.
  void expect(const std::vector<std::vector<int64_t>>& upcoming);
  /// The documents of `indices`, as make_batch returns them. Rethrows what building the batch threw, in either thread.
  nn::Batch take(const std::vector<int64_t>& indices);

 private:
  void begin_next();

  const Dataset& dataset_;
  c10::Device device_;
  bool ahead_;
  std::deque<std::vector<int64_t>> expected_;
  std::vector<int64_t> begun_;          ///< what the thread is building
  std::future<nn::Batch> result_;  ///< invalid if nothing is being built; its destructor waits for the thread
};

}  // namespace lora::data
