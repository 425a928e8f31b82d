#pragma once
#include <memory>
#include <span>

namespace lora::comm {

/// The processes that train together. The trainer is written against this interface alone, so there is one loop for any
/// number of processes: one process is a communicator of size 1. An implementation on c10d comes beside it. Numbers of
/// the loop are summed here (losses, counts); tensors are not this area's, which has no torch.
class Communicator {
 public:
  virtual ~Communicator() = default;
  /// Which process this is, from 0.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Replaces each value by its sum over all processes, which call this with equally many values in the same order.
  virtual void all_reduce_sum(std::span<double> values) = 0;
};

/// The communicator of a process that trains alone: every sum is its own value.
std::unique_ptr<Communicator> make_single_process();

}  // namespace lora::comm
