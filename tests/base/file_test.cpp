#include "lora/base/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>

#include "support/content.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using test::content;
using test::expect_error;
using test::TemporaryFolder;

/// Names in the folder, including hidden ones.
std::vector<std::string> names(const fs::path& folder) {
  std::vector<std::string> result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    result.push_back(entry.path().filename().string());
  }
  std::sort(result.begin(), result.end());
  return result;
}

TEST(ReadFile, ReadsTheWholeFileOrNamesTheReason) {
  const TemporaryFolder folder;
  const std::string bytes = std::string("a\0b\n", 4) + std::string(300'000, 'x');
  EXPECT_EQ(content(folder.write("a", bytes)), bytes);
  EXPECT_EQ(content(folder.write("empty", "")), "");
  EXPECT_FALSE(content("/proc/self/status").empty());  // stat reports a size of 0
  expect_error(ErrorKind::kData, {"none", "cannot be read: No such file"}, [&] { content(folder / "none"); });
  expect_error(ErrorKind::kModel, {"found a folder"}, [&] { read_file(folder.path(), ErrorKind::kModel); });
}

TEST(WriteFile, ReplacesWholeFilesAndLeavesNoOtherFiles) {
  const TemporaryFolder folder;
  const fs::path file = folder / "out.bin";
  write_file_atomically(file, "old");
  EXPECT_EQ(content(file), "old");
  std::string big(200'000, 'b');
  write_file_atomically(file, [&](const Append& append) {
    append("a", 1);
    append(big.data(), big.size());
    append("", 0);
    for (int i = 0; i < 70'000; ++i) {
      append("c", 1);
    }
  });
  EXPECT_EQ(content(file), "a" + big + std::string(70'000, 'c'));
  const std::string longest(255, 'n');
  write_file_atomically(folder / longest, "x");
  EXPECT_EQ(names(folder.path()), (std::vector<std::string>{longest, "out.bin"}));
}

TEST(WriteFile, KeepsTheOldFileWhenItFails) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("out", "old");
  EXPECT_THROW(write_file_atomically(file,
                                     [](const Append& append) {
                                       append("new", 3);
                                       throw std::runtime_error("stop");
                                     }),
               std::runtime_error);
  EXPECT_EQ(content(file), "old");
  fs::create_directory(folder / "taken");
  expect_error(ErrorKind::kOutput, {"taken", "cannot be written"}, [&] { write_file_atomically(folder / "taken", "x"); });
  expect_error(ErrorKind::kOutput, {"none/x", "No such file"}, [&] { write_file_atomically(folder / "none/x", "x"); });
  expect_error(ErrorKind::kOutput, {"out/x", "Not a directory"}, [&] { write_file_atomically(file / "x", "x"); });
  EXPECT_EQ(names(folder.path()), (std::vector<std::string>{"out", "taken"}));
}

TEST(WriteFile, ReportsAFullDisk) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("out", "old");
  // A limit on the file size simulates a full disk; the signal that it raises is ignored.
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small = {1 << 20, before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  expect_error(ErrorKind::kOutput, {"out", "cannot be written"}, [&] { write_file_atomically(file, std::string(3 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(content(file), "old");
  EXPECT_EQ(names(folder.path()), std::vector<std::string>{"out"});
}

TEST(WriteFolder, IsSeenCompleteOrNotAtAll) {
  const TemporaryFolder folder;
  const fs::path target = folder / "checkpoint-5";
  write_folder_atomically(target, [&](const fs::path& inside) {
    EXPECT_EQ(inside.parent_path(), folder.path());
    EXPECT_FALSE(fs::exists(target));
    std::ofstream(inside / "a") << "1";
    fs::create_directory(inside / "sub");
    std::ofstream(inside / "sub" / "b") << "2";
  });
  EXPECT_EQ(content(target / "sub" / "b"), "2");
  EXPECT_THROW(write_folder_atomically(target, [](const fs::path&) { throw std::runtime_error("stop"); }), std::runtime_error);
  EXPECT_EQ(names(target), (std::vector<std::string>{"a", "sub"}));
  write_folder_atomically(fs::path(target.string() + "/"), [](const fs::path& inside) { std::ofstream(inside / "c") << "3"; });
  EXPECT_EQ(names(target), std::vector<std::string>{"c"});
  EXPECT_EQ(names(folder.path()), std::vector<std::string>{"checkpoint-5"});
  expect_error(ErrorKind::kOutput, {"none/x", "No such file"}, [&] { write_folder_atomically(folder / "none/x", [](const fs::path&) {}); });
}

TEST(WritableFolder, IsCreatedAndProbed) {
  const TemporaryFolder folder;
  make_writable_folder(folder / "a/b/c");
  make_writable_folder(folder / "a/b/c/");
  EXPECT_TRUE(names(folder / "a/b/c").empty());
  const fs::path file = folder.write("file", "");
  expect_error(ErrorKind::kOutput, {"file"}, [&] { make_writable_folder(file); });
  expect_error(ErrorKind::kOutput, {"file/x"}, [&] { make_writable_folder(file / "x"); });
  fs::create_symlink(folder / "nowhere", folder / "dangling");
  expect_error(ErrorKind::kOutput, {"dangling"}, [&] { make_writable_folder(folder / "dangling"); });
  expect_error(ErrorKind::kOutput, {"/proc"}, [&] { make_writable_folder("/proc/1/lora"); });
}

TEST(Leftovers, OfAKilledWriterAreRemoved) {
  const TemporaryFolder folder;
  folder.write("keep", "x");
  const auto killed_in = [](auto action) {
    const pid_t child = fork();
    if (child == 0) {
      action();
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
  };
  killed_in([&] { write_file_atomically(folder / "f", [](const Append&) { kill(getpid(), SIGKILL); }); });
  killed_in([&] {
    write_folder_atomically(folder / "d", [](const fs::path& inside) {
      std::ofstream(inside / "part") << "x";
      kill(getpid(), SIGKILL);
    });
  });
  EXPECT_EQ(names(folder.path()).size(), 3U);
  remove_leftovers(folder.path());
  EXPECT_EQ(names(folder.path()), std::vector<std::string>{"keep"});
  remove_leftovers(folder / "none");
}

TEST(MappedFile, IsPrivateAndRejectsOtherFileTypes) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("a", "hello");
  const MappedFile map(file, ErrorKind::kModel);
  ASSERT_EQ(map.size(), 5U);
  map.data()[0] = std::byte{'J'};
  EXPECT_EQ(content(file), "hello");
  EXPECT_EQ(std::string(reinterpret_cast<char*>(map.data()), 5), "Jello");
  EXPECT_EQ(MappedFile(folder.write("empty", ""), ErrorKind::kModel).size(), 0U);
  expect_error(ErrorKind::kModel, {"none", "No such file"}, [&] { MappedFile(folder / "none", ErrorKind::kModel); });
  expect_error(ErrorKind::kModel, {"folder", "expected a file"}, [&] { MappedFile(folder.path(), ErrorKind::kModel); });
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorKind::kModel, {"pipe", "found a pipe"}, [&] { MappedFile(folder / "pipe", ErrorKind::kModel); });
}

TEST(FolderLock, KeepsOthersOutWhileHeld) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder.path());
    expect_error(ErrorKind::kOutput, {"in use", "process " + std::to_string(getpid())}, [&] { FolderLock again(folder.path()); });
    const pid_t child = fork();
    if (child == 0) {
      try {
        const FolderLock again(folder.path());
      } catch (const Error& error) {
        _exit(error.exit_code());
      }
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 6);
  }
  EXPECT_TRUE(names(folder.path()).empty());
  { const FolderLock lock(folder.path()); }
  expect_error(ErrorKind::kOutput, {"none", "cannot be locked"}, [&] { FolderLock lock(folder / "none"); });
}

TEST(FolderLock, NeverWritesToALinkedFile) {
  const TemporaryFolder folder;
  const fs::path victim = folder.write("victim", "precious");
  for (const bool hard : {false, true}) {
    hard ? fs::create_hard_link(victim, folder / ".lock") : fs::create_symlink(victim, folder / ".lock");
    expect_error(ErrorKind::kOutput, {".lock", "is a link"}, [&] { FolderLock lock(folder.path()); });
    EXPECT_EQ(content(victim), "precious");
    fs::remove(folder / ".lock");
  }
  ASSERT_EQ(mkfifo((folder / ".lock").c_str(), 0600), 0);
  expect_error(ErrorKind::kOutput, {".lock", "not a regular file"}, [&] { FolderLock lock(folder.path()); });
}

TEST(FolderLock, IsReleasedWhenItsProcessIsKilled) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    kill(getpid(), SIGKILL);
  }
  waitpid(child, nullptr, 0);
  EXPECT_EQ(names(folder.path()), std::vector<std::string>{".lock"});
  { const FolderLock lock(folder.path()); }
  EXPECT_TRUE(names(folder.path()).empty());
}

TEST(FolderLock, AdmitsExactlyOneOfManyProcesses) {
  const TemporaryFolder folder;
  int gate[2], tried[2], end[2];
  ASSERT_EQ(pipe(gate) + pipe(tried) + pipe(end), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(fork());
    if (children.back() == 0) {
      close(gate[1]);
      close(end[1]);
      char byte = 0;
      [[maybe_unused]] ssize_t got = read(gate[0], &byte, 1);  // until the parent closes its end
      try {
        const FolderLock lock(folder.path());
        got = write(tried[1], &byte, 1);
        got = read(end[0], &byte, 1);  // holds the lock until all others have tried
        _exit(0);
      } catch (const Error& error) {
        got = write(tried[1], &byte, 1);
        _exit(error.exit_code());
      }
    }
  }
  close(gate[0]);
  close(gate[1]);
  char byte = 0;
  for (size_t i = 0; i < children.size(); ++i) {
    ASSERT_EQ(read(tried[0], &byte, 1), 1);
  }
  close(end[1]);
  int winners = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 6);
    winners += WEXITSTATUS(status) == 0 ? 1 : 0;
  }
  EXPECT_EQ(winners, 1);
}

// Test vectors of FIPS 180-4 (NIST's examples).
TEST(Sha256, EqualsTheKnownVectors) {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), abc);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1'000'000, 'a');
  const std::string million_hash = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  EXPECT_EQ(sha256(million), million_hash);
  const TemporaryFolder folder;
  EXPECT_EQ(sha256_of_file(folder.write("abc", "abc"), ErrorKind::kData), abc);
  EXPECT_EQ(sha256_of_file(folder.write("million", million), ErrorKind::kData), million_hash);
  expect_error(ErrorKind::kData, {"none"}, [&] { sha256_of_file(folder / "none", ErrorKind::kData); });
  expect_error(ErrorKind::kData, {"found a folder"}, [&] { sha256_of_file(folder.path(), ErrorKind::kData); });
}

}  // namespace
}  // namespace lora
