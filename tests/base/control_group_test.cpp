#include "lora/base/control_group.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "support/temporary_folder.h"

namespace lora {
namespace {

struct Groups {
  test::TemporaryFolder folder;

  /// Adds a version 2 group with its limit, the memory in use, and the part of that which is page cache.
  void add(const std::string& path, const std::string& limit, int64_t used, int64_t cache) {
    std::filesystem::create_directories(folder / path);
    folder.write(path + "/memory.max", limit + "\n");
    folder.write(path + "/memory.current", std::to_string(used) + "\n");
    folder.write(path + "/memory.stat", "anon 7\ninactive_file " + std::to_string(cache - 1) + "\nactive_file 1\nslab 5\n");
  }
  std::optional<int64_t> room(const std::string& membership) const {
    folder.write("membership", membership);
    return control_group_room(folder.path(), folder / "membership");
  }
};

TEST(ControlGroup, TheTightestAncestorCountsWithoutThePageCache) {
  Groups groups;
  groups.add("slice", "1000", 600, 500);          // 900 left
  groups.add("slice/job", "max", 600, 500);       // no limit
  groups.add("slice/job/step", "800", 600, 400);  // 600 left
  EXPECT_EQ(groups.room("0::/slice/job/step\n"), 600);
  EXPECT_EQ(groups.room("0::/slice/job\n"), 900);
  groups.add("slice", "1000", 950, 50);
  EXPECT_EQ(groups.room("0::/slice/job/step\n"), 100);
  groups.add("slice", "1000", 1200, 50);
  EXPECT_EQ(groups.room("0::/slice/job/step\n"), 0) << "more is in use than the limit allows";
}

TEST(ControlGroup, NoLimitGivesNoValue) {
  Groups groups;
  groups.add("slice", "max", 600, 500);
  EXPECT_FALSE(groups.room("0::/slice\n"));
  EXPECT_FALSE(groups.room("0::/elsewhere\n"));
  EXPECT_FALSE(groups.room("no group\n"));
  EXPECT_FALSE(groups.room(""));
}

TEST(ControlGroup, Version1IsSupportedToo) {
  Groups groups;
  std::filesystem::create_directories(groups.folder / "memory/job");
  groups.folder.write("memory/job/memory.limit_in_bytes", "1000\n");
  groups.folder.write("memory/job/memory.usage_in_bytes", "700\n");
  groups.folder.write("memory/job/memory.stat", "cache 3\ntotal_inactive_file 100\ntotal_active_file 50\n");
  EXPECT_EQ(groups.room("5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n"), 450);
}

}  // namespace
}  // namespace lora
