#pragma once
#include <array>

#include "lora/comm/communicator.h"

namespace lora::train {

/// Decisions that processes that train together must take alike, or one would wait for the others for ever: whether a run ends, was
/// interrupted, or computes in smaller parts. All of them must ask the same questions in the same order.
class Agreement {
 public:
  /// The communicator must outlive this.
  explicit Agreement(comm::Communicator& communicator) : communicator_(communicator) {}

  /// Whether it is so in any process.
  bool any(bool is_so_here) const;
  /// The same for two questions at once.
  std::array<bool, 2> any(const std::array<bool, 2>& are_so_here) const;
  /// The signal that asked any of the processes to stop, or 0. In a process that received none it is SIGTERM.
  int interrupt_signal() const;

 private:
  comm::Communicator& communicator_;
};

}  // namespace lora::train
