#pragma once
#include <filesystem>

namespace lora {

/// Whether a process holds the lock on a folder (FolderLock). The system releases the lock when that process ends, however it ends.
bool is_locked(const std::filesystem::path& folder);

}  // namespace lora
