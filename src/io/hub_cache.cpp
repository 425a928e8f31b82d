#include <algorithm>
#include <cctype>

#include "lora/base/text.h"
#include "lora/io/weight_source.h"

namespace lora::io {

namespace {

bool is_plain(std::string_view text) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  return !text.empty() && text.find("..") == std::string_view::npos && text != "." && std::all_of(text.begin(), text.end(), allowed);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// The most recently changed snapshot, for a model that was fetched by commit and therefore has no refs/main.
fs::path newest_snapshot(const fs::path& snapshots) {
  fs::path newest;
  fs::file_time_type newest_time;
  std::error_code error;
  for (fs::directory_iterator entry(snapshots, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    const fs::file_time_type time = entry->last_write_time(ignored);
    if (!ignored && is_folder(entry->path()) && (newest.empty() || time > newest_time)) {
      newest = entry->path();
      newest_time = time;
    }
  }
  return newest;
}

}  // namespace

fs::path find_in_hub_cache(const fs::path& hub, const std::string& repository) {
  const std::vector<std::string> parts = split(repository, '/');
  if (hub.empty() || parts.size() > 2 || !std::all_of(parts.begin(), parts.end(), is_plain)) {
    return {};
  }
  const fs::path root = hub / ("models--" + join(parts, "--"));
  const fs::path reference = root / "refs" / "main";
  std::error_code ignored;
  if (!fs::is_regular_file(reference, ignored)) {
    return newest_snapshot(root / "snapshots");
  }
  const std::string commit = trim(read_file(reference, ErrorKind::kModel));
  const fs::path snapshot = root / "snapshots" / commit;
  return is_plain(commit) && is_folder(snapshot) ? snapshot : fs::path();
}

}  // namespace lora::io
