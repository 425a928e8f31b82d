#pragma once

namespace lora {

/// Installs the signal handlers of every program. SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask it to stop: the first one is recorded, and the
/// loop stops at the next safe point; a second SIGINT or SIGTERM ends the process at once with 128 + its number (the other two are sent by
/// systems, which may send them twice). A SIGHUP that is ignored (nohup) stays ignored. SIGPIPE and SIGXFSZ are ignored, so that the
/// write fails instead.
void install_interrupt_handlers();

/// Asks the process to stop as if it had received `signal`. For writers whose reader has exited.
void request_stop(int signal);

/// The signal that asked the process to stop, or 0.
int interrupt_signal();

/// Thrown where work without a checkpoint (loading, tokenizing) is interrupted. Exit code 128 + signal.
struct Interrupted {
  int signal;
};

/// Clears a pending SIGINT, for a program in which SIGINT only stops the current answer. Returns false if another signal is pending.
bool forget_interrupt();

/// Throws Interrupted if a signal has asked the process to stop.
void throw_if_interrupted();

}  // namespace lora
