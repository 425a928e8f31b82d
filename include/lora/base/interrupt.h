#pragma once

namespace lora {

/// Installs the handlers of every program. SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask it to stop: the first is remembered for the loop to stop
/// at the next safe point; a second SIGINT or SIGTERM ends the process at once with 128 + its number (the others are sent by systems, which
/// may send them twice). A SIGHUP that was ignored (nohup) stays so. SIGPIPE and SIGXFSZ are ignored: what fails is the write.
void install_interrupt_handlers();

/// Asks the process to stop as if `signal` had come. For writers whose reader has gone.
void request_stop(int signal);

/// The signal that asked the process to stop, or 0.
int interrupt_signal();

/// Thrown where work without a checkpoint (loading, tokenising) is cut short. Exit code 128 + signal.
struct Interrupted {
  int signal;
};

/// Forgets a SIGINT that came, for a program in which it ends one answer. Whether it was that and no other signal.
bool forget_interrupt();

/// Throws Interrupted if a signal came.
void check_interrupt();

}  // namespace lora
