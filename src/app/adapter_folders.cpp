#include "app/adapter_folders.h"

#include "app/open_adapter.h"

namespace lora::app {

namespace fs = std::filesystem;

AdapterFolders::AdapterFolders(const std::vector<std::string>& adapters) {
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

}  // namespace lora::app
