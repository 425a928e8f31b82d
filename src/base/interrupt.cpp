#include "lora/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <string_view>

namespace lora {

namespace {

std::atomic<int> requested_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");

void on_interrupt(int signal_number) {
  int none = 0;
  const bool is_first = requested_signal.compare_exchange_strong(none, signal_number);
  if (!is_first && (signal_number == SIGINT || signal_number == SIGTERM)) {
    _exit(128 + signal_number);
  }
}

bool is_ignored(int signal_number) {
  struct sigaction present = {};
  return sigaction(signal_number, nullptr, &present) == 0 && present.sa_handler == SIG_IGN;
}

/// A mapped file that is truncated while in use kills the process with SIGBUS: report this, and exit as for any bad file.
void on_bus_error(int signal_number, siginfo_t* info, void*) {
  if (info->si_code != BUS_ADRERR) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    return;
  }
  constexpr std::string_view kMessage =
      "error: [model files] a mapped file became shorter or unreadable while in use. Likely cause: it was overwritten during the run, or "
      "the disk failed.\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage.data(), kMessage.size());
  _exit(4);
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction interrupt = {};
  interrupt.sa_handler = on_interrupt;
  interrupt.sa_flags = SA_RESTART;
  sigemptyset(&interrupt.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
    sigaction(number, &interrupt, nullptr);
  }
  if (!is_ignored(SIGHUP)) {
    sigaction(SIGHUP, &interrupt, nullptr);
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);

  struct sigaction bus = {};
  bus.sa_sigaction = on_bus_error;
  bus.sa_flags = SA_SIGINFO;
  sigemptyset(&bus.sa_mask);
  sigaction(SIGBUS, &bus, nullptr);
}

void request_stop(int signal_number) {
  int none = 0;
  requested_signal.compare_exchange_strong(none, signal_number);
}

int interrupt_signal() {
  return requested_signal.load();
}

bool forget_interrupt() {
  int needed = SIGINT;
  return requested_signal.compare_exchange_strong(needed, 0);
}

void throw_if_interrupted() {
  if (const int signal_number = interrupt_signal(); signal_number != 0) {
    throw Interrupted{signal_number};
  }
}

}  // namespace lora
