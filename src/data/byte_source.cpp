#include "data/byte_source.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "lora/base/error.h"
#include "lora/base/input_file.h"

namespace lora::data {
namespace {

constexpr unsigned kZlibBuffer = 1U << 17;
constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kMaxWhole = size_t{4} << 30;

// zlib's file layer, which also reads uncompressed files.
class GzFile {
 public:
  explicit GzFile(const std::string& path) : path_(path) {
    const int descriptor = open_input(path, ErrorKind::kData, /*may_be_pipe=*/true);
    file_ = gzdopen(descriptor, "rb");
    if (file_ == nullptr) {
      close(descriptor);
      data_error(path_, "cannot read the file: out of memory");
    }
    gzbuffer(file_, kZlibBuffer);
  }
  ~GzFile() { gzclose_r(file_); }
  GzFile(const GzFile&) = delete;
  GzFile& operator=(const GzFile&) = delete;

  /// Bytes of the file, as stored on disk, that have been read.
  int64_t position() const { return gzoffset(file_); }

  size_t read(char* buffer, size_t size) {
    errno = 0;
    const int got = gzread(file_, buffer, static_cast<unsigned>(std::min(size, kChunk)));
    int code = Z_OK;
    const char* message = gzerror(file_, &code);
    if (got < 0 || code == Z_BUF_ERROR) {
      fail(code, message);
    }
    if (!checked_) {
      checked_ = true;
      if (path_.ends_with(".gz") && gzdirect(file_) != 0) {
        data_error(path_, "the name ends in .gz, but the content is not gzip. Rename the file, or compress it.");
      }
    }
    return static_cast<size_t>(got);
  }

 private:
  [[noreturn]] void fail(int code, const char* message) const {
    if (code == Z_ERRNO) {
      data_error(path_, "cannot read the file: " + std::string(std::strerror(errno)));
    }
    const std::string what = code == Z_BUF_ERROR ? "unexpected end of file" : std::string(message);
    data_error(path_, "the gzip file is damaged: " + what + ". Likely cause: an incomplete download or copy.");
  }

  std::string path_;
  gzFile file_ = nullptr;
  bool checked_ = false;
};

}  // namespace

ByteSource open_file(const std::string& path, const Consumed& consumed) {
  auto file = std::make_shared<GzFile>(path);
  return [file, consumed](char* buffer, size_t size) {
    const size_t count = file->read(buffer, size);
    consumed(file->position());
    return count;
  };
}

ByteSource bytes_of(const std::string& text) {
  return [&text, position = size_t{0}](char* buffer, size_t size) mutable {
    const size_t count = std::min(size, text.size() - position);
    std::memcpy(buffer, text.data() + position, count);
    position += count;
    return count;
  };
}

std::string read_stdin() {
  const ByteSource source = [](char* buffer, size_t size) {
    const size_t count = std::fread(buffer, 1, size, stdin);
    if (count == 0 && std::ferror(stdin) != 0) {
      data_error("stdin", "cannot read: " + std::string(std::strerror(errno)));
    }
    return count;
  };
  return read_all(source, "stdin");
}

std::string read_all(const ByteSource& source, const std::string& name) {
  std::string text;
  while (true) {
    const size_t before = text.size();
    if (before > kMaxWhole) {
      data_error(name, "found more than 4 GiB in a file that is read as a whole. Use .jsonl files, which are read line by line.");
    }
    text.resize(std::max(before + kChunk, before + before / 2));
    const size_t count = source(text.data() + before, text.size() - before);
    text.resize(before + count);
    if (count == 0) {
      return text;
    }
  }
}

}  // namespace lora::data
