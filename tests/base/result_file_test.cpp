#include "lora/base/result_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "support/content.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using test::content;
using test::expect_error;
using test::TemporaryFolder;

TEST(ResultFile, ReplacesAWholeFileAndTheTargetOfALink) {
  const TemporaryFolder folder;
  const ResultFile made(folder / "new/deep/rows.jsonl", {});
  expect_error(ErrorKind::kOutput, {"broken"}, [&] {
    made.write([](const Append& append) {
      append("half", 4);
      output_error("here", "broken");
    });
  });
  EXPECT_TRUE(fs::is_empty(folder / "new/deep"));
  made.write("whole");
  EXPECT_EQ(content(folder / "new/deep/rows.jsonl"), "whole");

  folder.write("target", "old");
  fs::create_symlink("target", folder / "link");
  fs::create_symlink("link", folder / "link of a link");
  ResultFile(folder / "link of a link", {}).write("by a link");
  EXPECT_EQ(content(folder / "target"), "by a link");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  fs::create_symlink("later", folder / "dangling");
  ResultFile(folder / "dangling", {}).write("made");
  EXPECT_EQ(content(folder / "later"), "made");
  EXPECT_TRUE(fs::is_symlink(folder / "dangling"));
  fs::create_symlink("circle", folder / "circle");
  expect_error(ErrorKind::kOutput, {"circle", "does not lead to a file"}, [&] { ResultFile(folder / "circle", {}); });
}

TEST(ResultFile, WritesToAPipeOrDeviceWithoutReplacingIt) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = (std::ostringstream() << std::ifstream(pipe).rdbuf()).str(); });
  ResultFile(pipe, {}).write("rows");
  reader.join();
  EXPECT_EQ(read, "rows");
  EXPECT_TRUE(fs::is_fifo(pipe));
  expect_error(ErrorKind::kOutput, {"pipe", "expected a regular file"}, [&] { ResultFile(pipe, {}).whole_file(); });
  expect_error(ErrorKind::kOutput, {"pipe", "no process reads"}, [&] { ResultFile(pipe, {}).write("rows"); });

  const fs::path null = folder / "null";
  if (mknod(null.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0) {  // succeeds only as root
    ResultFile(null, {}).write("nowhere");
    EXPECT_TRUE(fs::is_character_file(null));
  }
  ResultFile("/dev/null", {}).write("nowhere");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  expect_error(ErrorKind::kOutput, {"/dev/full", "No space"}, [] { ResultFile("/dev/full", {}).write("nowhere"); });
}

TEST(ResultFile, WritesToAnOpenDescriptor) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("out", "before ");
  const int descriptor = open(file.c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(descriptor, 0);
  struct stat before = {}, after = {};
  ASSERT_EQ(stat(file.c_str(), &before), 0);
  ResultFile("/dev/fd/" + std::to_string(descriptor), {}).write("rows");
  ASSERT_EQ(write(descriptor, " after", 6), 6);
  close(descriptor);
  ASSERT_EQ(stat(file.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(content(file), "before rows after");
}

TEST(ResultFile, IsNeverAnInput) {
  const TemporaryFolder folder;
  for (const char* name :
       {"rows.jsonl", "model/config.json", "model/model.safetensors", "model/1_Pooling/config.json", "blob", "a/metrics.jsonl"}) {
    folder.write(name, "read");
  }
  fs::create_symlink("../blob", folder / "model/tokenizer.json");  // as in the Hub's cache
  fs::create_hard_link(folder / "rows.jsonl", folder / "second name");
  const std::vector<fs::path> inputs{folder / "rows.jsonl", folder / "model", folder / "a", folder / "none", ""};
  for (const char* name : {"rows.jsonl", "second name", "model/config.json", "model/model.safetensors", "model/1_Pooling/config.json",
                           "blob", "model/tokenizer.json", "model/tokenizer_config.json", "a/metrics.jsonl"}) {
    const std::string last = fs::path(name).filename().string();
    expect_error(ErrorKind::kOutput, {last, "read"}, [&] { ResultFile(folder / name, inputs); });
  }
  EXPECT_EQ(content(folder / "blob"), "read");
  EXPECT_FALSE(fs::exists(folder / "model/tokenizer_config.json"));
  // An evaluation may write its rows next to its adapter, and replace them.
  for (const char* text : {"first", "second"}) {
    ResultFile(folder / "a/rows.jsonl", inputs).write(text);
    EXPECT_EQ(content(folder / "a/rows.jsonl"), text);
  }
  const ResultFile later(folder / "new.jsonl", {});
  folder.write("new.jsonl", "an input by now");
  expect_error(ErrorKind::kOutput, {"new.jsonl"}, [&] { later.must_not_replace({folder / "new.jsonl"}); });
  expect_error(ErrorKind::kOutput, {"model]", "found a folder"}, [&] { ResultFile(folder / "model", {}); });
}

}  // namespace
}  // namespace lora
