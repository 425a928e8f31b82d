#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

namespace lora::comm {

/// The processes that train together. The trainer only uses this interface, so one loop serves any number of processes: a
/// single process is a communicator of size 1.
class Communicator {
 public:
  virtual ~Communicator() = default;
  /// The index of this process, from 0.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Whether this is the process that writes: metrics, checkpoints, the result.
  bool is_first() const { return rank() == 0; }
  /// Replaces each value by its sum over all processes. All of them must call this with the same number of values in the same order.
  /// Throws Error if the processes cannot exchange them, for example because one of them has ended.
  void all_reduce_sum(std::span<double> values);
  /// The same for tensors, in place: those of one position have the same shape, dtype and kind of device in all processes.
  void all_reduce_sum(std::span<const at::Tensor> tensors);

 private:
  /// May throw torch's errors, which become an Error.
  virtual void sum(std::span<double> values) = 0;
  virtual void sum(std::span<const at::Tensor> tensors) = 0;
};

/// The communicator of a single process: every sum is the value itself, and nothing is copied.
std::unique_ptr<Communicator> make_single_process();

}  // namespace lora::comm
