#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

namespace lora {

/// Bytes that this process may still allocate by its control groups: the minimum over its own group and all groups around it of the limit
/// less the memory in use. The page cache does not count as in use, because the system can reclaim it. Empty if no group has a limit.
/// Reads the layout of version 2, and that of version 1 where there is a memory hierarchy.
/// @param root where control groups are mounted (/sys/fs/cgroup).
/// @param membership the file that names the process's groups (/proc/self/cgroup).
std::optional<int64_t> control_group_room(const std::filesystem::path& root, const std::filesystem::path& membership);

}  // namespace lora
