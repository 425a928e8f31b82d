#pragma once
#include <functional>
#include <string>

namespace lora::data {

/// Fills a buffer with the next bytes; returns how many, 0 at the end. Throws data Error.
using ByteSource = std::function<size_t(char* buffer, size_t size)>;

/// Bytes of a file. A file named .gz must be gzip and is unpacked; it must be whole, its checksum right.
ByteSource open_file(const std::string& path);

/// Bytes of a text that outlives the source.
ByteSource bytes_of(const std::string& text);

/// Everything on stdin.
std::string read_stdin();

/// What is left of `source`, at most 4 GiB.
std::string read_all(const ByteSource& source, const std::string& name);

}  // namespace lora::data
