#include "app/adapter_folders.h"

#include "app/open_adapter.h"

namespace lora::app {

namespace fs = std::filesystem;

namespace {

/// The characters of the files' paths within the folder of an adapter.
constexpr const char* kOfPaths = "/._abcdefghijklmnopqrstuvwxyz0123456789";

}  // namespace

AdapterFolders::AdapterFolders(const std::vector<std::string>& adapters) : given_(adapters) {
  for (const std::string& adapter : adapters) {
    std::error_code ignored;
    folders_.push_back(fs::is_regular_file(adapter, ignored) ? converted(adapter) : fs::path(adapter));
  }
}

fs::path AdapterFolders::converted(const fs::path& file) {
  const peft::Adapter adapter = open_adapter(file, std::nullopt, {}).adapter;
  if (!temporary_) {
    temporary_.emplace();
  }
  const fs::path folder = temporary_->path() / std::to_string(folders_.size() + 1);
  fs::create_directory(folder);
  peft::write_foreign_adapter(peft::AdapterFormat::kPeft, folder, adapter, {}, {});
  return folder;
}

std::string AdapterFolders::in_given_names(std::string message) const {
  for (size_t i = folders_.size(); i-- > 0;) {  // folder 10 before folder 1, which is the start of its name
    const std::string folder = folders_[i].string();
    if (folder == given_[i]) {
      continue;
    }
    for (size_t at = message.find(folder); at != std::string::npos; at = message.find(folder, at + given_[i].size())) {
      const size_t end = message.find_first_not_of(kOfPaths, at + folder.size());
      message.replace(at, end == std::string::npos ? end : end - at, given_[i]);
    }
  }
  return message;
}

}  // namespace lora::app
