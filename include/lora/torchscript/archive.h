#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lora::torchscript {

/// A file in a TorchScript archive.
struct ArchiveEntry {
  std::string name;  ///< within the archive's top folder: "data.pkl", "code/__torch__.py"
  int64_t size = 0;  ///< of the content
  uint32_t crc = 0;  ///< CRC-32 of the content
};

/// A .pt file as a zip archive: what can be read without running it.
struct Archive {
  std::vector<ArchiveEntry> entries;  ///< in the archive's order
  /// Identifies the content: SHA-256 (hex) of every entry's name, size and checksum.
  std::string fingerprint;
};

/// Reads a TorchScript file's table of contents and verifies the checksum of every entry, without loading or running anything. Throws model
/// Error for a file that is truncated, damaged or not a TorchScript archive (files of torch.save, torch.export and the old format are
/// distinguished).
Archive read_archive(const std::filesystem::path& file);

}  // namespace lora::torchscript
