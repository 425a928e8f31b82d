#include "lora/base/control_group.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace lora {

namespace {

namespace fs = std::filesystem;

/// The file names of one version, and the names of the lines of memory.stat that count the page cache.
struct Layout {
  const char* limit;
  const char* used;
  const char* inactive;
  const char* active;
};
constexpr Layout kVersion2{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr Layout kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"};

/// The number in a file; empty if it holds no number ("max").
std::optional<int64_t> number_in(const fs::path& file) {
  int64_t value = 0;
  std::ifstream stream(file);
  return stream >> value ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> smaller(const std::optional<int64_t>& a, const std::optional<int64_t>& b) {
  return a && b ? std::min(*a, *b) : a ? a : b;
}

int64_t file_cache(const fs::path& file, const Layout& layout) {
  std::ifstream stream(file);
  int64_t sum = 0, value = 0;
  for (std::string name; stream >> name >> value;) {
    sum += name == layout.inactive || name == layout.active ? value : 0;
  }
  return sum;
}

std::optional<int64_t> room_of(const fs::path& group, const Layout& layout) {
  const std::optional<int64_t> limit = number_in(group / layout.limit), used = number_in(group / layout.used);
  if (!limit || !used) {
    return std::nullopt;
  }
  return std::max<int64_t>(0, *limit - (*used - file_cache(group / "memory.stat", layout)));
}

/// The minimum over the group at `path` below `root` and all groups around it. A container may see its own group as the root.
std::optional<int64_t> least_room(const fs::path& root, const fs::path& path, const Layout& layout) {
  std::optional<int64_t> least;
  for (fs::path group = path.relative_path();; group = group.parent_path()) {
    least = smaller(least, room_of(root / group, layout));
    if (group.empty()) {
      return least;
    }
  }
}

}  // namespace

std::optional<int64_t> control_group_room(const fs::path& root, const fs::path& membership) {
  // Lines of the form number:controllers:path; version 2 has one with the number 0 and no controllers.
  std::ifstream file(membership);
  std::optional<int64_t> least;
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    if (controllers == ",,") {
      least = smaller(least, least_room(root, path, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = smaller(least, least_room(root / "memory", path, kVersion1));
    }
  }
  return least;
}

}  // namespace lora
