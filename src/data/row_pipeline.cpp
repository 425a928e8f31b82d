#include "data/row_pipeline.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

namespace lora::data {
namespace {

// A thread's share of a block: large enough to justify starting a thread, small enough not to need much memory.
constexpr size_t kMaxBytes = size_t{512} << 10;
constexpr size_t kMaxRows = 1024;
constexpr size_t kMinRows = 16;

struct Result {
  EncodedRow row;
  std::exception_ptr error;
};

}  // namespace

/// Rows, their results, and the threads that encode them.
struct RowPipeline::Block {
  std::vector<PendingRow> rows;
  size_t bytes = 0;
  std::vector<Result> results;
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> threads;

  bool is_full(size_t num_threads) const { return bytes >= kMaxBytes * num_threads || rows.size() >= kMaxRows * num_threads; }

  void start(const Encode& encode, size_t num_threads) {
    results.resize(rows.size());
    const size_t useful = std::min(num_threads, rows.size() / kMinRows);
    for (size_t i = 0; useful > 1 && i < useful; ++i) {
      threads.emplace_back([this, &encode] { work(encode); });
    }
    if (threads.empty()) {
      work(encode);
    }
  }

  /// Encodes rows until none are left.
  void work(const Encode& encode) {
    for (size_t i = next++; i < rows.size(); i = next++) {
      try {
        results[i].row = encode(rows[i]);
      } catch (...) {
        results[i].error = std::current_exception();
      }
      rows[i] = {};
    }
  }
};

RowPipeline::RowPipeline(Encode encode, Take take, size_t num_threads)
    : encode_(std::move(encode)), take_(std::move(take)), num_threads_(num_threads), filling_(std::make_unique<Block>()) {}

RowPipeline::~RowPipeline() = default;

void RowPipeline::add(PendingRow row) {
  filling_->bytes += row.bytes;
  filling_->rows.push_back(std::move(row));
  if (filling_->is_full(num_threads_)) {
    turn_over();
  }
}

void RowPipeline::finish() {
  for (int i = 0; i < 2 && !failed_; ++i) {
    turn_over();
  }
}

/// Starts the filled block; meanwhile the results of the previous one are taken.
void RowPipeline::turn_over() {
  const std::unique_ptr<Block> done = std::move(running_);
  if (done) {
    done->threads.clear();  // waits for the threads
  }
  running_ = std::exchange(filling_, std::make_unique<Block>());
  running_->start(encode_, num_threads_);
  for (size_t i = 0; done && i < done->results.size(); ++i) {
    if (done->results[i].error) {
      failed_ = true;
      std::rethrow_exception(done->results[i].error);
    }
    take_(std::move(done->results[i].row));
  }
}

}  // namespace lora::data
