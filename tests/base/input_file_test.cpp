#include "lora/base/input_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "lora/base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using test::expect_error;
using test::TemporaryFolder;

/// Expects an error from every function that reads a file.
void expect_refused_by_all(const fs::path& file, const std::string& found) {
  const std::vector<std::string> parts{file.filename().string() + "]", "found " + found, "expected a "};
  expect_error(ErrorKind::kModel, parts, [&] { read_file(file, ErrorKind::kModel); });
  expect_error(ErrorKind::kModel, parts, [&] { read_json(file, ErrorKind::kModel); });
  expect_error(ErrorKind::kModel, parts, [&] { sha256_of_file(file, ErrorKind::kModel); });
  expect_error(ErrorKind::kModel, parts, [&] { MappedFile(file, ErrorKind::kModel); });
  expect_error(ErrorKind::kModel, parts, [&] { close(open_input(file, ErrorKind::kModel)); });
}

TEST(InputFile, MustBeARegularFile) {
  const TemporaryFolder folder;
  fs::create_symlink("/dev/zero", folder / "zero");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_directory(folder / "inner");
  const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder / "socket").string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  expect_refused_by_all(folder / "zero", "a device");
  expect_refused_by_all(folder / "pipe", "a pipe");  // immediately, although no process writes to it
  expect_refused_by_all(folder / "inner", "a folder");
  expect_refused_by_all(folder / "socket", "a socket");
  close(listening);
  expect_error(ErrorKind::kModel, {"none", "No such file"}, [&] { read_file(folder / "none", ErrorKind::kModel); });
  fs::create_symlink(folder.write("text", "{\"a\": 1}"), folder / "link");
  EXPECT_EQ(read_json(folder / "link", ErrorKind::kModel)["a"], 1);
  EXPECT_EQ(first_bytes(folder / "link", 4), "{\"a\"");
  EXPECT_EQ(first_bytes(folder.write("short", "ab"), 4), "ab");
  for (const char* name : {"zero", "pipe", "inner", "none"}) {
    EXPECT_EQ(first_bytes(folder / name, 4), "");
  }
}

TEST(InputFile, MayBeAPipeWhereAllowed) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(is_pipe(pipe));
  EXPECT_FALSE(is_pipe(folder / "none"));
  const std::string text(200'000, 'x');  // more than the capacity of a pipe
  std::thread writer([&] { std::ofstream(pipe) << text; });
  EXPECT_EQ(read_file(pipe, ErrorKind::kConfig, {.may_be_pipe = true}), text);
  writer.join();
  signal(SIGPIPE, SIG_IGN);
  std::thread endless([&] { std::ofstream(pipe) << text; });
  expect_error(ErrorKind::kConfig, {"pipe", "found more than 1.0 KiB"},
               [&] { read_file(pipe, ErrorKind::kConfig, {.max_bytes = 1024, .may_be_pipe = true}); });
  endless.join();
  expect_error(ErrorKind::kConfig, {"found a device", "or a pipe"},
               [&] { read_file("/dev/zero", ErrorKind::kConfig, {.may_be_pipe = true}); });
}

TEST(InputFile, HasAMaximumSize) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("config.json", "[" + std::string(1000, ' ') + "]");
  EXPECT_EQ(read_file(file, ErrorKind::kModel, {.max_bytes = 1002}).size(), 1002U);
  expect_error(ErrorKind::kModel, {"config.json", "found more than"}, [&] { read_file(file, ErrorKind::kModel, {.max_bytes = 1001}); });
  fs::resize_file(file, size_t{1} << 40);  // sparse: it takes no disk space but would fill any memory
  expect_error(ErrorKind::kModel, {"config.json", "found more than 64.0 MiB"}, [&] { read_json(file, ErrorKind::kModel); });
  EXPECT_EQ(read_file(folder.write("empty", ""), ErrorKind::kModel), "");
  EXPECT_THAT(read_file("/proc/self/status", ErrorKind::kModel), testing::HasSubstr("VmHWM"));  // whose size is not known in advance
}

}  // namespace
}  // namespace lora
