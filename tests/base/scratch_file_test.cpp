#include "lora/base/scratch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kSomeBytes = 300'000;

TEST(ScratchFile, HoldsBytesUntilItsEnd) {
  const test::TemporaryFolder folder;
  {
    const ScratchFile scratch(folder / "a/b", "state", kSomeBytes);
    EXPECT_EQ(scratch.path(), folder / "a/b/state-1.bin");
    EXPECT_EQ(std::filesystem::file_size(scratch.path()), ScratchFile::file_size(kSomeBytes));
    EXPECT_EQ(std::count(scratch.data(), scratch.data() + kSomeBytes, std::byte{0}), static_cast<ptrdiff_t>(kSomeBytes));
    std::memset(scratch.data(), 7, kSomeBytes);
    scratch.release();
    EXPECT_EQ(std::count(scratch.data(), scratch.data() + kSomeBytes, std::byte{7}), static_cast<ptrdiff_t>(kSomeBytes));
    std::ifstream file(scratch.path(), std::ios::binary);
    std::string first(10, '\0');
    file.read(first.data(), 10);
    EXPECT_EQ(first, "lora-train");
    file.seekg(-1, std::ios::end);
    EXPECT_EQ(file.get(), 7) << "writes go to the file";
  }
  EXPECT_THAT(test::files_in(folder.path()), IsEmpty());
}

TEST(ScratchFile, SeveralAtOnceHaveTheirOwnFiles) {
  const test::TemporaryFolder folder;
  const ScratchFile first(folder.path(), "state", 10);
  const ScratchFile second(folder.path(), "state", 10);
  std::memset(second.data(), 1, 10);
  EXPECT_EQ(first.data()[0], std::byte{0});
  EXPECT_THAT(test::files_in(folder.path()), ElementsAre("state-1.bin", "state-2.bin"));
  const ScratchFile empty(folder.path(), "state", 0);
  EXPECT_EQ(empty.path().filename(), "state-3.bin");
}

TEST(ScratchFile, ReplacesWhatAKilledProcessLeftAndNothingElse) {
  const test::TemporaryFolder folder;
  folder.write("state-1.bin", "somebody's own file");
  const pid_t child = fork();
  if (child == 0) {
    const ScratchFile first(folder.path(), "state", 10);
    const ScratchFile second(folder.path(), "state", 10);
    _exit(first.path().filename() == "state-2.bin" && second.path().filename() == "state-3.bin" ? 0 : 1);  // without destructors
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(test::files_in(folder.path()), ElementsAre("state-1.bin", "state-2.bin", "state-3.bin"));
  {
    const ScratchFile scratch(folder.path(), "state", 20);
    EXPECT_EQ(std::filesystem::file_size(scratch.path()), ScratchFile::file_size(20));
    EXPECT_THAT(test::files_in(folder.path()), ElementsAre("state-1.bin", "state-2.bin"));
  }
  EXPECT_THAT(test::files_in(folder.path()), ElementsAre("state-1.bin"));
}

TEST(ScratchFile, SaysWhyItCannotBeCreated) {
  const test::TemporaryFolder folder;
  folder.write("file", "");
  test::expect_error(ErrorKind::kOutput, {"file", "cannot be created as a folder"},
                     [&] { ScratchFile(folder / "file/below", "state", 1); });
  test::expect_error(ErrorKind::kOutput, {"state-1.bin", "cannot be given its size", "expected room for", "free: "},
                     [&] { ScratchFile(folder.path(), "state", size_t{1} << 60); });
  test::expect_error(ErrorKind::kOutput, {"[/proc/states]", "cannot be created as a folder"},
                     [] { ScratchFile("/proc/states", "state", 1); });
  if (geteuid() != 0) {  // root writes everywhere
    std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    test::expect_error(ErrorKind::kOutput, {"cannot be written to"}, [&] { ScratchFile(folder.path(), "state", 1); });
    std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
  }
  EXPECT_THAT(test::files_in(folder.path()), ElementsAre("file"));
}

TEST(ScratchFile, SaysThatItCannotBeMapped) {
  const test::TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {  // with no address space left
    const rlimit none{1, 1};
    setrlimit(RLIMIT_AS, &none);
    try {
      const ScratchFile scratch(folder.path(), "state", size_t{1} << 20);
    } catch (const Error& error) {
      const bool names_it = std::strstr(error.what(), "state-1.bin] cannot be mapped into memory: ") != nullptr;
      _exit(names_it && error.kind() == ErrorKind::kOutput ? 0 : 1);
    }
    _exit(2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(test::files_in(folder.path()), IsEmpty());
}

}  // namespace
}  // namespace lora
