#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace lora::ops {

/// Threads that compute different things side by side, each with an equal share of LibTorch's threads. Where one computation is small its
/// threads wait for each other at the end of every operation; lanes wait once, at the end of all.
class Lanes {
 public:
  /// @param count as many lanes, but no more than LibTorch has threads. The caller's thread is one of them.
  explicit Lanes(int64_t count);
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  /// run(i) once for each i of [0, items), begun in this order, each on the first lane that is free; returns when all are done. Of what
  /// they throw it throws the first, in their order; nothing is begun after that.
  void run(int64_t items, const std::function<void(int64_t item)>& job);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace lora::ops
