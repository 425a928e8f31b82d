#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

namespace lora {

/// Bytes that the control groups of this process still let it take: the least over its own group and those around it, each its limit
/// less what is in use, where the cache of files does not count, as it gives way. None: no group has a limit. Reads the layout of
/// version 2, and of version 1 where there is a memory hierarchy.
/// @param root where control groups are mounted (/sys/fs/cgroup).
/// @param membership the file that names the process's groups (/proc/self/cgroup).
std::optional<int64_t> control_group_room(const std::filesystem::path& root, const std::filesystem::path& membership);

}  // namespace lora
