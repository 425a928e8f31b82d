#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::data {

/// Fills a buffer with the next bytes; returns their number, 0 at the end. Throws data Error.
using ByteSource = std::function<size_t(char* buffer, size_t size)>;

/// Receives the number of bytes of a file, as stored on disk, that have been read.
using Consumed = std::function<void(int64_t bytes)>;

/// Bytes of a file. A file named .gz must be gzip, complete and with a valid checksum; it is decompressed.
ByteSource open_file(const std::string& path, const Consumed& consumed);

/// Bytes of a text, which must outlive the source.
ByteSource bytes_of(const std::string& text);

/// All of stdin.
std::string read_stdin();

/// The remainder of `source`, at most 4 GiB.
std::string read_all(const ByteSource& source, const std::string& name);

}  // namespace lora::data
