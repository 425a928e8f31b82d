#pragma once
#include <functional>
#include <memory>

#include "data/row_encoder.h"

namespace lora::data {

/// Encodes rows in several threads while the next ones are read. Results arrive in the order of the rows, in the thread that
/// adds them, and an error arrives at the position of its row, as if one thread did everything.
class RowPipeline {
 public:
  using Encode = std::function<EncodedRow(const PendingRow&)>;
  using Take = std::function<void(EncodedRow)>;

  /// `encode` is called by `num_threads` threads concurrently; with 1, by the thread that adds rows.
  RowPipeline(Encode encode, Take take, size_t num_threads);
  ~RowPipeline();
  RowPipeline(const RowPipeline&) = delete;
  RowPipeline& operator=(const RowPipeline&) = delete;

  /// Rethrows what encoding or taking an earlier row threw.
  void add(PendingRow row);
  /// Waits for all rows. Throws as add does, unless an error has already been thrown.
  void finish();

 private:
  struct Block;
  void turn_over();

  Encode encode_;
  Take take_;
  size_t num_threads_;
  std::unique_ptr<Block> filling_;
  std::unique_ptr<Block> running_;  ///< the previous block, with its threads
  bool failed_ = false;             ///< an error has been thrown, and later ones are ignored
};

}  // namespace lora::data
