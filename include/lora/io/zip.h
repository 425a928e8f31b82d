#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/file.h"

namespace lora::io {

/// One member of a zip archive. Its sizes and offset have been checked against the file's size.
struct ZipMember {
  std::string name;
  uint32_t crc = 0;
  bool is_deflated = false;
  int64_t size = 0;         ///< of the content
  int64_t stored_size = 0;  ///< in the file
  int64_t offset = 0;       ///< of the stored bytes
};

/// The members of a zip archive (PKWARE APPNOTE 6.3.9, with zip64), in the directory's order. Throws model Error for a file
/// that is not a zip archive, or whose directory or headers contradict each other or the file's size.
/// @param what names the expected kind of file in messages: "TorchScript file, as torch.jit.save writes one".
std::vector<ZipMember> zip_members(const MappedFile& file, const std::string& what);

/// Throws model Error naming the member if the checksum or size of its content differs from the directory.
void require_content(const MappedFile& file, const ZipMember& member);

}  // namespace lora::io
