#include "trial.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"

namespace lora::torchscript {

namespace {

/// What the process has mapped, or 0 where it is not known.
int64_t mapped_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0;
  statm >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

void limit(int resource, rlim_t value) {
  rlimit both{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &both) == 0 && (both.rlim_max == RLIM_INFINITY || value < both.rlim_max)) {
    both.rlim_cur = value;
    setrlimit(static_cast<__rlimit_resource>(resource), &both);
  }
}

/// Everything that the child does: its answer goes to `answer`, the kind as one byte and then the text; nothing if all went well.
[[noreturn]] void run_child(int answer, const TrialLimits& limits, const std::function<void()>& work) {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(nowhere, STDIN_FILENO);
  dup2(nowhere, STDOUT_FILENO);
  dup2(nowhere, STDERR_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) {
    signal(number, SIG_DFL);
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, static_cast<rlim_t>(limits.seconds));
#if !defined(__SANITIZE_ADDRESS__)  // which maps terabytes
  if (const int64_t mapped = mapped_bytes(); mapped > 0) {
    limit(RLIMIT_AS, static_cast<rlim_t>(mapped + limits.memory_bytes));
  }
#endif
  at::set_num_threads(1);  // the parent's other threads are not here
  std::string text;
  try {
    work();
  } catch (const Error& error) {
    text = std::string(1, static_cast<char>(error.kind())) + error.what();
  } catch (const std::exception& error) {
    text = std::string(1, static_cast<char>(ErrorKind::kUnforeseen)) + error.what();
  }
  for (size_t written = 0; written < text.size();) {
    const ssize_t count = write(answer, text.data() + written, text.size() - written);
    if (count <= 0) {
      break;
    }
    written += static_cast<size_t>(count);
  }
  _exit(text.empty() ? 0 : 1);
}

struct Ended {
  std::string answer;
  int status = 0;
  bool in_time = true;
};

/// Reads what the child says to its end, kills one that takes too long, and reaps it.
Ended wait_for(pid_t child, int answer, int64_t seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  Ended ended;
  char piece[4096];
  for (;;) {
    pollfd ready{answer, POLLIN, 0};
    const int count = poll(&ready, 1, 200);
    ended.in_time = Clock::now() < end;
    if (!ended.in_time || interrupt_signal() != 0) {
      kill(child, SIGKILL);
      break;
    }
    if (count > 0) {
      const ssize_t size = read(answer, piece, sizeof(piece));
      if (size == 0 || (size < 0 && errno != EINTR)) {
        break;
      }
      ended.answer.append(piece, static_cast<size_t>(std::max<ssize_t>(size, 0)));
    }
  }
  while (waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
  }
  return ended;
}

}  // namespace

void try_in_child(const std::string& where, const TrialLimits& limits, const std::function<void()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    model_error(where, std::string("cannot be tried in a child process: ") + std::strerror(errno));
  }
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    run_child(ends[1], limits, work);
  }
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    model_error(where, std::string("cannot be tried in a child process: ") + std::strerror(errno));
  }
  const int64_t longest = 10 * limits.seconds;
  const Ended ended = wait_for(child, ends[0], longest);
  close(ends[0]);
  check_interrupt();
  if (!ended.answer.empty()) {
    throw Error(static_cast<ErrorKind>(ended.answer.front()), ended.answer.substr(1));
  }
  if (!ended.in_time) {
    model_error(where,
                "loading it took longer than " + std::to_string(longest) + " s in a child process, which was ended. The file is damaged");
  }
  if (WIFSIGNALED(ended.status)) {
    model_error(where, std::string("loading it ended a child process with the signal ") + strsignal(WTERMSIG(ended.status)) +
                           ". The file is damaged, or was made by another version of torch");
  }
  if (ended.status != 0) {
    model_error(where, "loading it ended a child process. The file is damaged, or was made by another version of torch");
  }
}

}  // namespace lora::torchscript
