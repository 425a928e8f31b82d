// Log lines and reactions to signals, as a parent process sees them.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <array>

#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

/// Runs `action` in a child process with stdout and stderr redirected to files.
template <typename Action>
Outcome run_in_child(const Action& action) {
  const test::TemporaryFolder folder;
  const fs::path out = folder.write("out", "");
  const fs::path err = folder.write("err", "");
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(out.c_str(), O_WRONLY), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY), STDERR_FILENO);
    action();
    _exit(0);
  }
  Outcome outcome;
  waitpid(child, &outcome.status, 0);
  outcome.out = read_file(out, ErrorKind::kData);
  outcome.err = read_file(err, ErrorKind::kData);
  return outcome;
}

TEST(Log, WritesPlainLinesToStderr) {
  const Outcome outcome = run_in_child([] {
    log::info("hello {} %v %s é");
    log::warn("careful");
    log::progress("step 1");
    log::end_progress();
    log::set_quiet(true);
    log::info("hidden");
    log::error("[x] broken");
    EXPECT_FALSE(log::is_terminal());
  });
  EXPECT_EQ(outcome.err, "hello {} %v %s é\nwarning: careful\nerror: [x] broken\n");
  EXPECT_EQ(outcome.out, "");
}

TEST(Log, UsesColoursAndOneProgressLineOnATerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) {
    GTEST_SKIP() << "no pseudo-terminal available";
  }
  const int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(other_end, 0);
  const pid_t child = fork();
  if (child == 0) {
    unsetenv("NO_COLOR");
    dup2(other_end, STDERR_FILENO);
    log::progress("step 1");
    log::warn("careful");
    log::end_progress();
    _exit(0);
  }
  close(other_end);
  std::string seen;
  std::array<char, 256> part{};
  // A read may return only a part; the last one fails because the child has closed its end.
  for (ssize_t got = 0; (got = read(terminal, part.data(), part.size())) > 0;) {
    seen.append(part.data(), static_cast<size_t>(got));
  }
  waitpid(child, nullptr, 0);
  close(terminal);
  EXPECT_THAT(seen, ::testing::StartsWith("\r\x1b[Kstep 1\r\x1b[K"));
  EXPECT_THAT(seen, ::testing::HasSubstr("\x1b[m careful"));
  EXPECT_THAT(seen, ::testing::EndsWith("careful\r\nstep 1\r\n"));
}

TEST(Interrupt, IsARequestOnceAndEndsTheProcessTheSecondTime) {
  const Outcome first = run_in_child([] {
    install_interrupt_handlers();
    throw_if_interrupted();
    raise(SIGTERM);
    try {
      throw_if_interrupted();
    } catch (const Interrupted& interrupted) {
      _exit(interrupted.signal == SIGTERM && interrupt_signal() == SIGTERM ? 7 : 1);
    }
  });
  EXPECT_EQ(WEXITSTATUS(first.status), 7);
  const Outcome second = run_in_child([] {
    install_interrupt_handlers();
    raise(SIGTERM);
    raise(SIGINT);
  });
  EXPECT_EQ(WEXITSTATUS(second.status), 130);
}

TEST(Interrupt, EveryTerminatingSignalIsARequest) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const Outcome outcome = run_in_child([number] {
      install_interrupt_handlers();
      raise(number);
      raise(SIGHUP);  // a closing terminal sends it twice: from the terminal and from its shell
      raise(SIGUSR1);
      raise(SIGPIPE);
      raise(SIGXFSZ);
      _exit(interrupt_signal());
    });
    EXPECT_EQ(WEXITSTATUS(outcome.status), number);
  }
  const Outcome under_nohup = run_in_child([] {
    signal(SIGHUP, SIG_IGN);
    install_interrupt_handlers();
    raise(SIGHUP);
    _exit(interrupt_signal());
  });
  EXPECT_EQ(under_nohup.status, 0);
}

TEST(Interrupt, ExplainsAFileThatIsTruncatedWhileMapped) {
  const test::TemporaryFolder folder;
  const fs::path file = folder.write("model", std::string(100'000, 'x'));
  const Outcome outcome = run_in_child([&] {
    install_interrupt_handlers();
    const MappedFile map(file, ErrorKind::kModel);
    fs::resize_file(file, 10);
    [[maybe_unused]] const volatile std::byte beyond = map.data()[50'000];
  });
  EXPECT_EQ(WEXITSTATUS(outcome.status), 4);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("became shorter"));
}

}  // namespace
}  // namespace lora
