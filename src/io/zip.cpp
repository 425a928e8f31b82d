#include "lora/io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "lora/base/interrupt.h"
#include "lora/base/text.h"

namespace lora::io {

namespace {

constexpr uint32_t kEndMark = 0x06054b50;
constexpr uint32_t kEnd64Mark = 0x06064b50;
constexpr uint32_t kLocator64Mark = 0x07064b50;
constexpr uint32_t kMemberMark = 0x02014b50;
constexpr uint32_t kLocalMark = 0x04034b50;
constexpr size_t kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20, kMemberSize = 46, kLocalSize = 30;
constexpr uint64_t kMaxMembers = 1 << 20;

/// Reads numbers from the file, with bounds checks.
class Bytes {
 public:
  explicit Bytes(const MappedFile& file) : file_(file) {}

  uint64_t size() const { return file_.size(); }
  const unsigned char* at(uint64_t offset, uint64_t count) const {
    if (offset > size() || count > size() - offset) {
      fail("it ends too early");
    }
    return reinterpret_cast<const unsigned char*>(file_.data()) + offset;
  }
  template <typename Number>
  Number number(uint64_t offset) const {
    Number value;  // little-endian, like all supported machines
    std::memcpy(&value, at(offset, sizeof(Number)), sizeof(Number));
    return value;
  }
  uint64_t u16(uint64_t offset) const { return number<uint16_t>(offset); }
  uint64_t u32(uint64_t offset) const { return number<uint32_t>(offset); }
  uint64_t u64(uint64_t offset) const { return number<uint64_t>(offset); }
  std::string text(uint64_t offset, uint64_t count) const { return {reinterpret_cast<const char*>(at(offset, count)), count}; }
  [[noreturn]] void fail(const std::string& what) const {
    model_error(file_.path().string(), "is truncated or damaged: " + what + ". Copy it again.");
  }

 private:
  const MappedFile& file_;
};

/// The position of the end record. It must be at the end of the file, because torch writes no comment after it, and with a comment
/// torch's reader could find another end record.
uint64_t find_end(const Bytes& bytes, const MappedFile& file, const std::string& what) {
  if (bytes.size() >= kEndSize && bytes.u32(bytes.size() - kEndSize) == kEndMark) {
    return bytes.size() - kEndSize;
  }
  if (bytes.size() >= 4 && bytes.u32(0) == kLocalMark) {
    bytes.fail("found the beginning of a zip archive without its end");
  }
  model_error(file.path().string(), "is not a " + what + ": found no zip archive");
}

struct Directory {
  uint64_t offset;
  uint64_t count;
};

Directory find_directory(const Bytes& bytes, const MappedFile& file, const std::string& what) {
  const uint64_t end = find_end(bytes, file, what);
  Directory directory{bytes.u32(end + 16), bytes.u16(end + 10)};
  if (end >= kLocator64Size && bytes.u32(end - kLocator64Size) == kLocator64Mark) {
    const uint64_t end64 = bytes.u64(end - kLocator64Size + 8);
    bytes.at(end64, kEnd64Size);
    if (bytes.u32(end64) != kEnd64Mark) {
      bytes.fail("its zip64 directory is not where it should be");
    }
    directory = {bytes.u64(end64 + 48), bytes.u64(end64 + 32)};
  }
  if (directory.count > kMaxMembers) {
    bytes.fail("its directory claims " + std::to_string(directory.count) + " entries");
  }
  return directory;
}

/// Reads the sizes and the offset from the zip64 field of a member, for those that are 0xffffffff.
void read_zip64(const Bytes& bytes, uint64_t extra, uint64_t extra_size, std::array<uint64_t*, 3> wide) {
  for (uint64_t at = extra; at + 4 <= extra + extra_size; at += 4 + bytes.u16(at + 2)) {
    if (bytes.u16(at) != 1) {
      continue;
    }
    uint64_t next = at + 4;
    for (uint64_t* value : wide) {
      if (*value == 0xffffffff) {
        *value = bytes.u64(next);
        next += 8;
      }
    }
    return;
  }
}

ZipMember read_member(const Bytes& bytes, uint64_t& at) {
  bytes.at(at, kMemberSize);
  if (bytes.u32(at) != kMemberMark) {
    bytes.fail("a directory entry has a wrong signature");
  }
  const uint64_t flags = bytes.u16(at + 8), method = bytes.u16(at + 10), name_size = bytes.u16(at + 28), extra_size = bytes.u16(at + 30);
  uint64_t stored = bytes.u32(at + 20), size = bytes.u32(at + 24), local = bytes.u32(at + 42);
  ZipMember member;
  member.name = bytes.text(at + kMemberSize, name_size);
  member.crc = bytes.number<uint32_t>(at + 16);
  member.is_deflated = method == 8;
  read_zip64(bytes, at + kMemberSize + name_size, extra_size, {&size, &stored, &local});
  const std::string shown_name = "'" + printable(member.name) + "'";
  if ((method != 0 && method != 8) || (flags & 1) != 0) {
    bytes.fail(shown_name + " is stored in a way that torch does not use");
  }
  bytes.at(local, kLocalSize);
  const uint64_t begin = local + kLocalSize + bytes.u16(local + 26) + bytes.u16(local + 28);
  bytes.at(begin, stored);
  if (bytes.u32(local) != kLocalMark || bytes.text(local + kLocalSize, bytes.u16(local + 26)) != member.name ||
      (!member.is_deflated && stored != size)) {
    bytes.fail(shown_name + " is not where the directory says");
  }
  member.size = static_cast<int64_t>(size);
  member.stored_size = static_cast<int64_t>(stored);
  member.offset = static_cast<int64_t>(begin);
  at += kMemberSize + name_size + extra_size + bytes.u16(at + 32);
  return member;
}

/// Size and CRC-32 of the inflated content; nothing if the bytes are not deflated data or inflate to more than the expected size.
std::optional<std::pair<int64_t, uint32_t>> inflated_checksum(const unsigned char* bytes, const ZipMember& member) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    return std::nullopt;
  }
  std::vector<unsigned char> piece(1 << 16);
  int64_t size = 0, left = member.stored_size;
  uLong crc = crc32(0, nullptr, 0);
  int state = Z_OK;
  stream.next_in = const_cast<unsigned char*>(bytes);  // zlib only reads them, in spite of its interface
  while (state == Z_OK && size <= member.size) {
    throw_if_interrupted();
    if (stream.avail_in == 0 && left > 0) {
      stream.avail_in = static_cast<uInt>(std::min<int64_t>(left, 1 << 30));
      left -= stream.avail_in;
    }
    stream.next_out = piece.data();
    stream.avail_out = static_cast<uInt>(piece.size());
    state = inflate(&stream, Z_NO_FLUSH);
    const size_t count = piece.size() - stream.avail_out;
    crc = crc32_z(crc, piece.data(), count);
    size += static_cast<int64_t>(count);
  }
  inflateEnd(&stream);
  return state == Z_STREAM_END ? std::optional(std::pair{size, static_cast<uint32_t>(crc)}) : std::nullopt;
}

}  // namespace

std::vector<ZipMember> zip_members(const MappedFile& file, const std::string& what) {
  const Bytes bytes(file);
  const Directory directory = find_directory(bytes, file, what);
  std::vector<ZipMember> members;
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.count; ++i) {
    members.push_back(read_member(bytes, at));
  }
  return members;
}

void require_content(const MappedFile& file, const ZipMember& member) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data()) + member.offset;
  constexpr int64_t kPiece = int64_t{64} << 20;
  bool fits = false;
  if (member.is_deflated) {
    fits = inflated_checksum(bytes, member) == std::pair{member.size, member.crc};
  } else {
    uLong crc = crc32(0, nullptr, 0);
    for (int64_t begin = 0; begin < member.stored_size; begin += kPiece) {
      throw_if_interrupted();
      crc = crc32_z(crc, bytes + begin, static_cast<size_t>(std::min(kPiece, member.stored_size - begin)));
    }
    fits = crc == member.crc;
  }
  if (!fits) {
    model_error(file.path().string(), "is damaged: the content of '" + printable(member.name) +
                                          "' does not match its checksum in the archive. Copy the file again.");
  }
}

}  // namespace lora::io
