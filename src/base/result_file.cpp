#include "lora/base/result_file.h"

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include "base/descriptor.h"
#include "lora/base/interrupt.h"

namespace lora {

namespace {

/// Follows links, including those to a path that does not exist yet.
fs::path without_links(const fs::path& named) {
  fs::path target = fs::absolute(named);
  std::error_code error;
  for (int links = 0; fs::is_symlink(target, error); ++links) {
    constexpr int kMaxLinks = 40;  // as Linux
    const fs::path next = fs::read_symlink(target, error);
    if (error || links == kMaxLinks) {
      output_error(named.string(), "is a link that does not lead to a file. Choose another file.");
    }
    target = target.parent_path() / next;
  }
  return target;
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code not_there;
  return fs::equivalent(a, b, not_there);
}

/// Rows in the folder of a model or an adapter are results; every other file there is considered a part of it.
bool may_be_result(const fs::path& file) {
  return file.extension() == ".jsonl" && file.filename() != "metrics.jsonl";
}

/// The path of `target` if it is, or would become, a part of what `folder` or one of its sub-folders holds; otherwise empty.
std::optional<fs::path> part_of(const fs::path& folder, const fs::path& target) {
  constexpr int kDepth = 2;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry.depth() >= kDepth) {
      entry.disable_recursion_pending();
    }
    if (!may_be_result(entry->path()) && is_same(entry->path(), target)) {
      return entry->path();
    }
  }
  return is_same(folder, target.parent_path()) && !may_be_result(target) ? std::optional(target) : std::nullopt;
}

void require_not_an_input(const fs::path& named, const fs::path& target, const std::vector<fs::path>& inputs) {
  for (const fs::path& input : inputs) {
    std::error_code error;
    if (is_same(input, target) && fs::is_regular_file(target, error)) {
      output_error(named.string(), "is a file that is read, '" + input.string() + "'. Choose another one.");
    }
    if (!input.empty() && fs::is_directory(input, error)) {
      if (const std::optional<fs::path> part = part_of(input, target)) {
        output_error(named.string(), "is or would be a part of '" + input.string() + "', which is read (" + part->filename().string() +
                                         "). Choose another file.");
      }
    }
  }
}

/// Whether a path names an open descriptor, as /dev/stdout and >(…) in a shell do.
bool is_descriptor(const fs::path& named) {
  std::error_code error;
  const fs::path folder = fs::canonical(fs::absolute(named).parent_path(), error);
  return folder.native().starts_with("/proc/") ||
         (fs::is_symlink(named, error) && fs::read_symlink(named, error).native().starts_with("/proc/"));
}

/// Whether the path is a stream that is written to in place; throws for what cannot be written.
bool is_stream(const fs::path& named) {
  struct stat status = {};
  if (stat(named.c_str(), &status) != 0 || S_ISREG(status.st_mode)) {
    return is_descriptor(named);
  }
  if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) {
    output_error(named.string(), std::string("found ") +
                                     (S_ISDIR(status.st_mode)    ? "a folder"
                                      : S_ISSOCK(status.st_mode) ? "a socket"
                                                                 : "a block device") +
                                     ", expected a file to write");
  }
  return true;
}

/// Opening a pipe without a reader would wait forever, so its reader gets a few seconds to open it.
int open_stream(const fs::path& named, const fs::path& target) {
  constexpr int kTries = 50;
  for (int i = 0;; ++i) {
    Descriptor descriptor(target, O_WRONLY | O_NOCTTY | O_APPEND | O_NONBLOCK);
    if (descriptor.ok()) {
      fcntl(descriptor.number(), F_SETFL, O_APPEND);  // each write may wait
      return descriptor.release();
    }
    if (errno != ENXIO) {
      system_error(ErrorKind::kOutput, named, "cannot be written");
    }
    if (i == kTries) {
      output_error(named.string(), "is a pipe that no process reads. Start its reader first.");
    }
    throw_if_interrupted();
    poll(nullptr, 0, /*milliseconds=*/100);
  }
}

}  // namespace

ResultFile::ResultFile(const fs::path& named, const std::vector<fs::path>& inputs) : named_(named), is_stream_(is_stream(named)) {
  target_ = is_stream_ ? named : without_links(named);
  must_not_replace(inputs);
  if (!is_stream_) {
    make_writable_folder(target_.parent_path());
  }
}

void ResultFile::must_not_replace(const std::vector<fs::path>& inputs) const {
  if (!is_stream_) {
    require_not_an_input(named_, target_, inputs);
  }
}

const fs::path& ResultFile::whole_file() const {
  if (is_stream_) {
    output_error(named_.string(), "found a pipe or a device, expected a regular file: this result is written as a whole");
  }
  return target_;
}

void ResultFile::write(const std::function<void(const Append&)>& produce) const {
  if (!is_stream_) {
    write_file_atomically(target_, produce);
    return;
  }
  const Descriptor descriptor(open_stream(named_, target_));
  produce([&](const void* bytes, size_t size) {
    for (const char* at = static_cast<const char*>(bytes); size > 0;) {
      const ssize_t written = ::write(descriptor.number(), at, size);
      if (written < 0 && errno != EINTR) {
        system_error(ErrorKind::kOutput, named_, "cannot be written");
      }
      at += std::max<ssize_t>(written, 0);
      size -= static_cast<size_t>(std::max<ssize_t>(written, 0));
    }
  });
}

void ResultFile::write(std::string_view content) const {
  write([content](const Append& append) { append(content.data(), content.size()); });
}

}  // namespace lora
