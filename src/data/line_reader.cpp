#include "data/line_reader.h"

#include <cstring>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;
constexpr size_t kMaxLine = size_t{1} << 30;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

LineReader::LineReader(ByteSource source, std::string name) : source_(std::move(source)), name_(std::move(name)), buffer_(kBuffer) {}

std::optional<std::string_view> LineReader::next() {
  line_.clear();
  ++number_;
  bool ended = false;
  while (!ended && (begin_ < end_ || fill())) {
    const char* from = buffer_.data() + begin_;
    const void* newline = std::memchr(from, '\n', end_ - begin_);
    ended = newline != nullptr;
    const size_t count = ended ? static_cast<const char*>(newline) - from : end_ - begin_;
    line_.append(from, count);
    begin_ += count + (ended ? 1 : 0);
    if (line_.size() > kMaxLine) {
      data_error(origin(), "the line is longer than 1 GiB. Likely cause: not a text file.");
    }
  }
  if (!ended && line_.empty()) {
    return std::nullopt;
  }
  if (number_ == 1 && line_.starts_with(kByteOrderMark)) {
    line_.erase(0, kByteOrderMark.size());
  }
  check();
  return line_;
}

bool LineReader::fill() {
  begin_ = 0;
  end_ = source_(buffer_.data(), buffer_.size());
  return end_ > 0;
}

void LineReader::check() const {
  const size_t nul = line_.find('\0');
  const size_t invalid = invalid_utf8_at(line_);
  if (invalid < nul) {
    const auto byte = static_cast<unsigned char>(line_[invalid]);
    static constexpr char kDigits[] = "0123456789abcdef";
    data_error(place(invalid), std::string("found the byte 0x") + kDigits[byte >> 4] + kDigits[byte & 15] +
                                   ", which is not valid UTF-8 here. Likely cause: another encoding; convert the file to UTF-8.");
  }
  if (nul != std::string::npos) {
    data_error(place(nul), "found a NUL byte, expected text in UTF-8. Likely cause: UTF-16 or a binary file; convert it to UTF-8.");
  }
}

std::string LineReader::origin() const {
  return name_ + ":" + std::to_string(number_);
}

std::string LineReader::place(size_t offset) const {
  return origin() + ":" + std::to_string(offset + 1);
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

}  // namespace lora::data
