#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lora::torchscript {

/// One file of a TorchScript archive.
struct ArchiveEntry {
  std::string name;  ///< below the archive's own folder: "data.pkl", "code/__torch__.py"
  int64_t size = 0;  ///< of its content
  uint32_t crc = 0;  ///< CRC-32 of its content
};

/// A .pt file as the zip archive that it is: what can be known of it without running it.
struct Archive {
  std::vector<ArchiveEntry> entries;  ///< in the archive's order
  /// What tells its content from others': SHA-256 (hex) of every entry's name, size and checksum.
  std::string fingerprint;
};

/// Reads a TorchScript file's table of contents and compares every entry with its checksum; nothing of it is loaded or run.
/// Throws model Error for a file that is no such archive (torch.save, torch.export and the old format are told apart),
/// truncated or damaged.
Archive read_archive(const std::filesystem::path& file);

}  // namespace lora::torchscript
