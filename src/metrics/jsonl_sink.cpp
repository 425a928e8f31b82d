#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/log.h"
#include "lora/metrics/sink.h"

namespace lora::metrics {
namespace {

[[noreturn]] void cannot_write(const fs::path& file) {
  output_error(file.string(), std::string("the metrics cannot be written: ") + std::strerror(errno) +
                                  ". Check free space and permissions of the output folder.");
}

/// Whether a complete line is a row of a step up to `last_step`. A damaged line is not.
bool is_kept(const std::string& line, int64_t number, const fs::path& file, int64_t last_step) {
  try {
    const Json row = parse_json(line, file.string(), ErrorKind::kOutput, number);
    return JsonReader(row, file.string(), ErrorKind::kOutput).integer("step") <= last_step;
  } catch (const Error& error) {
    log::warn(std::string("a line of the metrics is dropped: ") + error.what());
    return false;
  }
}

/// The rows of `content` up to `last_step`, without an incomplete row at the end.
std::string rows_until(const std::string& content, const fs::path& file, int64_t last_step) {
  std::string kept;
  int64_t number = 1;
  for (size_t begin = 0, end = 0; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1, ++number) {
    const std::string line = content.substr(begin, end - begin);
    if (is_kept(line, number, file, last_step)) {
      kept += line + '\n';
    }
  }
  return kept;
}

void cut_back(const fs::path& file, int64_t resumed_step) {
  if (fs::is_symlink(file)) {  // in an untrusted run: the rows would be appended to another file
    output_error(file.string(), "is a link, expected a regular file. Remove it, or choose another output_dir.");
  }
  if (!fs::is_regular_file(file)) {  // it does not exist yet, or is a device or pipe, which has no earlier rows
    return;
  }
  const std::string content = read_file(file, ErrorKind::kOutput, kMetrics);
  const std::string kept = resumed_step > 0 ? rows_until(content, file, resumed_step) : "";
  if (kept != content) {
    write_file_atomically(file, kept);
  }
}

class JsonlSink : public Sink {
 public:
  JsonlSink(const fs::path& file, int64_t resumed_step) : file_(file) {
    cut_back(file, resumed_step);
    descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) {
      cannot_write(file);
    }
  }
  ~JsonlSink() override { ::close(descriptor_); }
  JsonlSink(const JsonlSink&) = delete;
  JsonlSink& operator=(const JsonlSink&) = delete;

  void write(const Json& row) override {
    const std::string line = row.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    for (size_t done = 0; done < line.size();) {
      const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
      if (written < 0 && errno != EINTR) {
        cannot_write(file_);
      }
      done += written > 0 ? static_cast<size_t>(written) : 0;
    }
  }

 private:
  fs::path file_;
  int descriptor_ = -1;
};

}  // namespace

std::unique_ptr<Sink> make_jsonl_sink(const std::filesystem::path& file, int64_t resumed_step) {
  return std::make_unique<JsonlSink>(file, resumed_step);
}

}  // namespace lora::metrics
