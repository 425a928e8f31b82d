#include "lora/train/agreement.h"

#include <csignal>

#include "lora/base/interrupt.h"

namespace lora::train {

bool Agreement::any(bool is_so_here) const {
  return any({is_so_here, false})[0];
}

std::array<bool, 2> Agreement::any(const std::array<bool, 2>& are_so_here) const {
  std::array<double, 2> counts{are_so_here[0] ? 1.0 : 0.0, are_so_here[1] ? 1.0 : 0.0};
  communicator_.all_reduce_sum(counts);
  return {counts[0] > 0, counts[1] > 0};
}

int Agreement::interrupt_signal() const {
  const int own = lora::interrupt_signal();
  if (!any(own != 0)) {
    return 0;
  }
  return own != 0 ? own : SIGTERM;
}

}  // namespace lora::train
