#include "lora/ops/lanes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace lora::ops {

class Lanes::State {
 public:
  explicit State(int64_t count)
      : all_threads_(at::get_num_threads()),
        lanes_(std::clamp(static_cast<int>(count), 1, all_threads_)),
        own_threads_(all_threads_ / lanes_) {}

  ~State() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) {
      worker.join();
    }
  }

  void run(int64_t items, const std::function<void(int64_t)>& job) {
    if (items <= 1 || lanes_ == 1) {  // one after the other, each with all threads
      for (int64_t i = 0; i < items; ++i) {
        job(i);
      }
      return;
    }
    if (workers_.empty()) {
      start_workers();
    }
    // MKL has one number of threads for the whole process: it is set while no lane computes.
    at::set_num_threads(own_threads_);
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      items_ = items;
      next_ = 0;
      failed_ = std::numeric_limits<int64_t>::max();
      error_ = nullptr;
      idle_ = 0;
      ++round_;
    }
    changed_.notify_all();
    take_items();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return idle_ == workers_.size(); });
    at::set_num_threads(all_threads_);
    if (error_ != nullptr) {
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }

 private:
  /// Started at the first use: most runs need no lanes.
  void start_workers() {
    for (int i = 1; i < lanes_; ++i) {
      workers_.emplace_back([this] { work(); });
    }
    // LibTorch applies the most recent setting to threads that start later: ours, once every lane has set its own.
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return idle_ == workers_.size(); });
    at::set_num_threads(all_threads_);
  }

  void work() {
    at::get_num_threads();  // otherwise the first use in a thread would set the number for all
    at::set_num_threads(own_threads_);
    for (int64_t seen = 0;;) {
      std::unique_lock lock(mutex_);
      ++idle_;
      changed_.notify_all();
      changed_.wait(lock, [this, seen] { return ends_ || round_ != seen; });
      if (ends_) {
        return;
      }
      seen = round_;
      lock.unlock();
      take_items();
    }
  }

  void take_items() {
    while (true) {
      std::unique_lock lock(mutex_);
      if (next_ == items_ || error_ != nullptr) {
        return;
      }
      const int64_t item = next_++;
      lock.unlock();
      try {
        (*job_)(item);
      } catch (...) {
        lock.lock();
        if (item < failed_) {
          failed_ = item;
          error_ = std::current_exception();
        }
      }
    }
  }

  const int all_threads_;
  const int lanes_;
  const int own_threads_;  ///< equal for all lanes, so that the bits do not depend on which lane computes what
  std::mutex mutex_;       // guards everything below
  std::condition_variable changed_;
  const std::function<void(int64_t)>* job_ = nullptr;
  int64_t items_ = 0, next_ = 0, failed_ = 0, round_ = 0;
  std::exception_ptr error_;
  size_t idle_ = 0;  ///< workers without work
  bool ends_ = false;
  std::vector<std::thread> workers_;
};

Lanes::Lanes(int64_t count) : state_(std::make_unique<State>(count)) {}

Lanes::~Lanes() = default;

void Lanes::run(int64_t items, const std::function<void(int64_t item)>& job) {
  state_->run(items, job);
}

}  // namespace lora::ops
