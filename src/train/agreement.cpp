#include "lora/train/agreement.h"

#include <array>
#include <csignal>

#include "lora/base/interrupt.h"

namespace lora::train {

bool Agreement::any(bool is_so_here) const {
  std::array<double, 1> count{is_so_here ? 1.0 : 0.0};
  communicator_.all_reduce_sum(count);
  return count[0] > 0;
}

int Agreement::interrupt_signal() const {
  const int own = lora::interrupt_signal();
  if (!any(own != 0)) {
    return 0;
  }
  return own != 0 ? own : SIGTERM;
}

}  // namespace lora::train
