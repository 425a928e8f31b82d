#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace lora::ops {

/// Threads that compute different things at the same time, each with an equal share of LibTorch's threads. In a small computation the
/// threads wait for each other at the end of every operation; lanes wait only once, at the end of all.
class Lanes {
 public:
  /// @param count number of lanes, limited to LibTorch's number of threads. The caller's thread is one of them.
  explicit Lanes(int64_t count);
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  /// Calls run(i) once for each i of [0, items), started in this order, each on the first free lane; returns when all are done. If some
  /// throw, rethrows the exception of the lowest i; no further calls are started after an exception.
  void run(int64_t items, const std::function<void(int64_t item)>& job);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace lora::ops
