#include "lora/base/bundle.h"

#include <mutex>

namespace lora {

namespace fs = std::filesystem;

namespace {

struct Bundle {
  std::function<BundledFiles()> open;
  std::optional<BundledFiles> files;
};

/// The bundles of this process. They belong to paths, as the file system does, and not to an object that could be handed on: readers
/// know nothing but the path.
class Bundles {
 public:
  static Bundles& all() {
    static Bundles bundles;
    return bundles;
  }

  void add(const fs::path& path, std::function<BundledFiles()> open) {
    const std::lock_guard lock(mutex_);
    by_path_.try_emplace(key(path), Bundle{std::move(open), std::nullopt});
  }
  bool contains(const fs::path& path) {
    const std::lock_guard lock(mutex_);
    return by_path_.contains(key(path));
  }
  /// Calls take(files) if the path is a bundle.
  template <typename Take>
  void with(const fs::path& path, const Take& take) {
    const std::lock_guard lock(mutex_);
    const auto found = by_path_.empty() ? by_path_.end() : by_path_.find(key(path));
    if (found == by_path_.end()) {
      return;
    }
    if (!found->second.files) {
      found->second.files = found->second.open();
    }
    take(*found->second.files);
  }

 private:
  static std::string key(const fs::path& path) {
    std::error_code ignored;
    return fs::absolute(path, ignored).lexically_normal().string();
  }

  std::mutex mutex_;
  std::map<std::string, Bundle> by_path_;
};

}  // namespace

void add_bundle(const fs::path& bundle, std::function<BundledFiles()> open) {
  Bundles::all().add(bundle, std::move(open));
}

bool is_bundle(const fs::path& path) {
  return Bundles::all().contains(path);
}

bool is_file(const fs::path& path) {
  bool is_bundled = false;
  Bundles::all().with(path.parent_path(), [&](const BundledFiles& files) { is_bundled = files.contains(path.filename().string()); });
  std::error_code ignored;
  return is_bundled || fs::is_regular_file(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) || is_bundle(path);
}

std::vector<std::string> bundled_names(const fs::path& path) {
  std::vector<std::string> names;
  Bundles::all().with(path, [&](const BundledFiles& files) {
    for (const auto& [name, make] : files) {
      names.push_back(name);
    }
  });
  return names;
}

std::optional<std::string> bundled_file(const fs::path& path) {
  std::function<std::string()> make;
  Bundles::all().with(path.parent_path(), [&](const BundledFiles& files) {
    const auto found = files.find(path.filename().string());
    make = found == files.end() ? nullptr : found->second;
  });
  return make ? std::optional(make()) : std::nullopt;
}

}  // namespace lora
