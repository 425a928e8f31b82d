#pragma once
#include <functional>
#include <memory>

#include "data/row_encoder.h"

namespace lora::data {

/// Encodes rows in several threads while the next ones are read. Results come back in the rows' order, in the thread that
/// adds them, and an error when it is its row's turn: all is as if one thread did it.
class RowPipeline {
 public:
  using Encode = std::function<EncodedRow(const PendingRow&)>;
  using Take = std::function<void(EncodedRow)>;

  /// `encode` is called by `num_threads` threads at once; with 1, by the one that adds.
  RowPipeline(Encode encode, Take take, size_t num_threads);
  ~RowPipeline();
  RowPipeline(const RowPipeline&) = delete;
  RowPipeline& operator=(const RowPipeline&) = delete;

  /// Throws what encoding or taking an earlier row threw.
  void add(PendingRow row);
  /// Waits for all rows. Throws likewise, unless the first error has been thrown already.
  void finish();

 private:
  struct Block;
  void turn_over();

  Encode encode_;
  Take take_;
  size_t num_threads_;
  std::unique_ptr<Block> filling_;
  std::unique_ptr<Block> running_;  ///< the block before, with its threads
  bool failed_ = false;             ///< a row's error has been thrown: later ones are nobody's
};

}  // namespace lora::data
