#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::data {

/// Fills a buffer with the next bytes; returns how many, 0 at the end. Throws data Error.
using ByteSource = std::function<size_t(char* buffer, size_t size)>;

/// Is told how much of a file has been read, in bytes of the file as it lies on the disk.
using Consumed = std::function<void(int64_t bytes)>;

/// Bytes of a file. A file named .gz must be gzip and is unpacked; it must be whole, its checksum right.
ByteSource open_file(const std::string& path, const Consumed& consumed);

/// Bytes of a text that outlives the source.
ByteSource bytes_of(const std::string& text);

/// Everything on stdin.
std::string read_stdin();

/// What is left of `source`, at most 4 GiB.
std::string read_all(const ByteSource& source, const std::string& name);

}  // namespace lora::data
