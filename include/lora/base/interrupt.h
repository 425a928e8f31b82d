#pragma once

namespace lora {

/// Installs handlers for SIGINT and SIGTERM: the first is remembered for the loop to stop at the next safe point, the
/// second ends the process at once with 128 + its number.
void install_interrupt_handlers();

/// The signal that asked the run to stop, or 0.
int interrupt_signal();

/// Thrown where work without a checkpoint (loading, tokenising) is cut short. Exit code 128 + signal.
struct Interrupted {
  int signal;
};

/// Throws Interrupted if a signal came.
void check_interrupt();

}  // namespace lora
