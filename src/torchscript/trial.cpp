#include "torchscript/trial.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"

namespace lora::torchscript {

namespace {

struct Mapped {
  int64_t all = 0;   ///< bytes of address space; 0: not known
  int64_t data = 0;  ///< bytes of writable memory
};

Mapped mapped_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::array<int64_t, 7> pages{};  // all, resident, shared, text, library, data, dirty
  for (int64_t& number : pages) {
    statm >> number;
  }
  const int64_t page = sysconf(_SC_PAGESIZE);
  return {pages[0] * page, pages[5] * page};
}

void limit(int resource, rlim_t value) {
  rlimit both{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &both) == 0 && (both.rlim_max == RLIM_INFINITY || value < both.rlim_max)) {
    both.rlim_cur = std::min(value, both.rlim_cur);
    setrlimit(static_cast<__rlimit_resource>(resource), &both);
  }
}

/// A model Error in the form in which the child reports it.
std::string as_answer(const std::string& where, const std::string& what) {
  return static_cast<char>(ErrorKind::kModel) + ("[" + where + "] cannot be run: " + printable(what, 300));
}

/// Closes the child's streams and sets its signals and limits.
void confine(const TrialLimits& limits) {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(nowhere, STDIN_FILENO);
  dup2(nowhere, STDOUT_FILENO);
  dup2(nowhere, STDERR_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) {
    signal(number, SIG_DFL);
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, static_cast<rlim_t>(limits.seconds));
#if !defined(__SANITIZE_ADDRESS__)  // the sanitizer maps terabytes
  if (const Mapped mapped = mapped_bytes(); mapped.all > 0) {
    limit(RLIMIT_AS, static_cast<rlim_t>(mapped.all + limits.memory_bytes));
    limit(RLIMIT_DATA, static_cast<rlim_t>(mapped.data + limits.memory_bytes));  // counts addresses that are already reserved
  }
#endif
  at::set_num_threads(1);  // the child does not have the parent's other threads
}

/// Runs in the child: writes its answer to `answer`, the kind of the error as one byte and then the text, or nothing if all went well.
[[noreturn]] void run_child(pid_t parent, int answer, const std::string& where, const TrialLimits& limits,
                            const std::function<void()>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // the child holds the parent's locks, so that it must not outlive it
  if (getppid() != parent) {
    _exit(1);
  }
  confine(limits);
  std::string text;
  try {
    work();
  } catch (const Error& error) {
    text = std::string(1, static_cast<char>(error.kind())) + error.what();
  } catch (const std::bad_alloc&) {
    text = as_answer(where, "needs more memory than the child process that tries it may use");
  } catch (const c10::Error& error) {
    text = as_answer(where, first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    text = as_answer(where, first_line(error.what()));
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

constexpr size_t kLongestAnswer = size_t{1} << 16;

struct Ended {
  std::string answer;
  int status = 0;
  bool in_time = true;
};

/// Reads the child's whole answer, kills the child if it takes too long, and reaps it.
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
      if (ended.answer.size() < kLongestAnswer) {
        ended.answer.append(piece, static_cast<size_t>(std::max<ssize_t>(size, 0)));
      }
    }
  }
  // A child that has closed its end of the pipe may still run forever.
  for (pid_t reaped = 0; reaped == 0 || (reaped < 0 && errno == EINTR);) {
    reaped = waitpid(child, &ended.status, WNOHANG);
    if (reaped == 0) {
      if (Clock::now() >= end || interrupt_signal() != 0) {
        kill(child, SIGKILL);
      }
      poll(nullptr, 0, 1);
    }
  }
  return ended;
}

}  // namespace

void try_in_child(const std::string& where, const TrialLimits& limits, const std::function<void()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    model_error(where, std::string("cannot be tried in a child process: ") + std::strerror(errno));
  }
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    close(ends[0]);
    run_child(parent, ends[1], where, limits, work);
  }
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    model_error(where, std::string("cannot be tried in a child process: ") + std::strerror(errno));
  }
  const int64_t longest = 10 * limits.seconds;
  const Ended ended = wait_for(child, ends[0], longest);
  close(ends[0]);
  throw_if_interrupted();
  if (!ended.answer.empty()) {
    const int kind = ended.answer.front();
    const bool is_known = kind == static_cast<int>(ErrorKind::kConfig) || kind == static_cast<int>(ErrorKind::kData);
    throw Error(is_known ? static_cast<ErrorKind>(kind) : ErrorKind::kModel, ended.answer.substr(1));
  }
  const bool out_of_time = WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGXCPU;
  if (!ended.in_time || out_of_time) {
    model_error(where, "took too long in a child process, which was ended: found more than " +
                           std::to_string(out_of_time ? limits.seconds : longest) +
                           " s. The file is damaged, or its network is too large for this machine.");
  }
  if (WIFSIGNALED(ended.status)) {
    model_error(where, std::string("crashed a child process while loading: found the signal ") + strsignal(WTERMSIG(ended.status)) +
                           ". The file is damaged, or was written by another version of torch.");
  }
  if (ended.status != 0) {
    model_error(where, "ended a child process while loading. The file is damaged, or was written by another version of torch.");
  }
}

}  // namespace lora::torchscript
