#include "lora/base/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using terminal::visible;
using terminal::visible_line;
using test::TemporaryFolder;
using testing::HasSubstr;
using testing::Not;

const std::string kHostile =
    "\x1b[2J\x1b]0;evil\x07 \x7f \xc2\x9b"
    "31m \xe2\x80\xae \xff \r\nfake: line\t.";

TEST(Terminal, EscapesControlCharacters) {
  EXPECT_EQ(visible_line(kHostile), "\\u001b[2J\\u001b]0;evil\\u0007 \\u007f \\u009b31m \\u202e \\xff \\r\\nfake: line\\t.");
  EXPECT_EQ(visible("a\n\tb\r\x1b[31m"), "a\n\tb\\r\\u001b[31m");
  EXPECT_EQ(visible("größe 𝄞 ⟦é⟧ עברית"), "größe 𝄞 ⟦é⟧ עברית");
  EXPECT_EQ(visible(std::string("\0", 1)), "\\u0000");
  const Json shown = terminal::visible_json({{"\x1b", {1, nullptr, "\x1b\n", {{"a", 2.5}}}}});
  EXPECT_EQ(shown, Json({{"\\u001b", {1, nullptr, "\\u001b\\n", {{"a", 2.5}}}}}));
}

/// What an action writes to stdout and stderr, and the exit status of its process.
struct Written {
  int status = 0;
  std::string out;
  std::string err;
};

template <typename Action>
Written written_by(const Action& action) {
  const TemporaryFolder folder;
  const fs::path out = folder.write("out", ""), err = folder.write("err", "");
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(out.c_str(), O_WRONLY), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY), STDERR_FILENO);
    action();
    _exit(interrupt_signal());
  }
  Written written;
  waitpid(child, &written.status, 0);
  written.out = read_file(out, ErrorKind::kData);
  written.err = read_file(err, ErrorKind::kData);
  return written;
}

TEST(Terminal, ReceivesNoControlCharactersFromUntrustedText) {
  const Written written = written_by([] {
    terminal::print(kHostile + "\x1b[32m\n");
    terminal::print_json({{"name", kHostile}});
    log::info(kHostile);
    log::warn(kHostile);
    try {
      model_error(kHostile, kHostile);
    } catch (const Error& error) {
      log::error(error.what());
    }
  });
  for (const std::string& stream : {written.out, written.err}) {
    for (const char* control : {"\x1b", "\x07", "\x7f", "\r", "\xc2\x9b", "\xe2\x80\xae", "\xff"}) {
      EXPECT_THAT(stream, Not(HasSubstr(control)));
    }
  }
  EXPECT_THAT(written.err.substr(written.err.find("warning: ")), Not(HasSubstr("\nfake: line")));
  const std::string json = written.out.substr(written.out.find("{"));
  EXPECT_EQ(Json::parse(json)["name"].get<std::string>().substr(0, 5), "\x1b[2J\x1b");  // a program that parses it gets the original bytes
}

TEST(Terminal, LeavesResultsForProgramsUnchanged) {
  const Written written = written_by([] {
    terminal::print_rows(kHostile);
    terminal::print_generated(kHostile);
  });
  EXPECT_EQ(written.out, kHostile + kHostile);
}

TEST(Terminal, AClosedReaderRequestsAStop) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const auto status_of = [&](const auto& write) {
    return WEXITSTATUS(written_by([&] {
                         install_interrupt_handlers();
                         dup2(ends[1], STDOUT_FILENO);
                         dup2(ends[1], STDERR_FILENO);
                         write();
                       }).status);
  };
  EXPECT_EQ(status_of([] {}), 0);
  EXPECT_EQ(status_of([] { terminal::print("text"); }), SIGPIPE);
  EXPECT_EQ(status_of([] { log::info("text"); }), SIGPIPE);
  close(ends[1]);
  const Written full = written_by([] {
    dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
    test::expect_error(ErrorKind::kOutput, {"standard output", "No space"}, [] { terminal::print("text"); });
    _exit(testing::Test::HasFailure() ? 1 : 0);
  });
  EXPECT_EQ(full.status, 0);
}

TEST(Terminal, ClosedStreamsAreNotReusedByTheNextFile) {
  const TemporaryFolder folder;
  const std::string file = (folder / "metrics").string();
  const pid_t child = fork();
  if (child == 0) {
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    terminal::open_standard_streams();
    const int opened = open(file.c_str(), O_WRONLY | O_CREAT, 0600);
    terminal::print("for the terminal\n");
    log::error("for the terminal");
    _exit(opened > STDERR_FILENO && interrupt_signal() == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(file, ErrorKind::kData), "");
}

}  // namespace
}  // namespace lora
